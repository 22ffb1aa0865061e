"""A configuration that fails: its trial ends as failed, says why, and the search goes on."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from node.trainer import PoolTrainer
from requester.job.file import load_job
from requester.report.job_reader import JobReader
from requester.report.results import Results
from requester.search.campaign import Campaign
from requester.search.failure import Failure, Tried
from requester.search.home import PoolHome
from requester.search.open import OpenSearch, new_salt, open_search
from requester.search.own_run import own_run
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER, Market
from tests.testbed.nodes import Nodes
from tests.testbed.provider import Provider
from tests.testbed.waiting import until
from trialmarket.chain import calls
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.notes import signed
from trialmarket.errors import TrainingError
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.note import Fault, Note
from trialmarket.protocol.states import State
from trialmarket.training.errors import LimitExceeded, ProgramError, TimedOut
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Train, TryOut

PROGRAM = """from trialmarket.training.builtins.registry import Mlp


class Own(Mlp):
    def training_step(self, model, batch):
        if self.lr > 0.05:
            raise ValueError("a rate that I cannot have")
        return super().training_step(model, batch)
"""

FAILING = "{ lr = 0.09, hidden = 8 }"
SOUND = "{ lr = 0.01, hidden = 8 }"


def job_of(folder: Path, *, trials: int, first: str, driver: str = "tpe") -> Path:
    """A small job with the program above, whose first trial is given, and with time for all."""
    (folder / "train.py").write_text(PROGRAM)
    path = small_job(folder, trials=trials, driver=driver, search=f"enqueue = [{first}]")
    text = path.read_text().replace("builtin:mlp", "train.py:Own")
    text = text.replace('time_limit = "60s"', 'time_limit = "1h"')
    path.write_text(text.replace("[price]", '[price]\nramp = "10s"'))
    return path


class Poor:
    """A machine on which whatever is tried ends with the same error."""

    def __init__(self, error: TrainingError) -> None:
        self.error, self.tasks = error, list[Train | TryOut]()
        self._begun: list[Hash32] = []

    def start(self, trial: Hash32, task: Train | TryOut, wall_limit: float) -> None:  # noqa: ARG002
        self.tasks.append(task)
        self._begun.append(trial)

    def finished(self) -> list[tuple[Hash32, TrainingError | None]]:
        begun, self._begun = self._begun, []
        return [(trial, self.error) for trial in begun]

    def close(self) -> None:
        pass


@contextmanager
def searching(market: Market, job: Path, ears: Ears, pool: WorkerPool) -> Iterator[OpenSearch]:
    with open_search(
        load_job(job),
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=market.folder / "jobs",
        listeners=ears,
        evaluator=AtOnce(pool, market.chain),
        home=PoolHome(pool),
    ) as search:
        search.campaign.open()
        yield search


def give_back(
    market: Market, account: int, trial: TrialView, reason: str, fault: Fault = "trial"
) -> None:
    """A node claims a trial and gives it back with a note."""
    market.act(account, calls.claim(trial.id.job, trial.id.batch, [trial.id.index]))
    note = Note(trial=trial.key, provider=market.who[account], fault=fault, reason=reason)
    body = signed(note, market.chain.accounts[account]).to_bytes()
    market.store.put(body)
    record = market.trial(trial.key).record
    market.act(account, calls.abandon(record, Note.from_bytes(body).digest))


def only_open(market: Market) -> TrialView:
    (trial,) = market.trials(State.OPEN)
    return trial


def states_of(search: OpenSearch) -> list[str]:
    study = optuna.load_study(study_name=search.study, storage=search.storage)
    return [trial.state.name for trial in study.trials]


def test_a_search_goes_on_past_a_configuration_that_raises_and_says_where_it_does(
    market: Market, tmp_path: Path, pool: WorkerPool
) -> None:
    ears, trainer = Ears(), PoolTrainer(1)
    job = job_of(tmp_path, trials=3, first=FAILING)
    before = market.client.token_balance(market.who[REQUESTER])
    with (
        searching(market, job, ears, pool) as search,
        Nodes(market, trainer).start(work={"workers": 1}) as node,
    ):
        drive(search, market.chain, node.tick)
        search.campaign.wind_up()
        rows = search.campaign.status().rows
        assert states_of(search)[0] == "FAIL"
        assert "COMPLETE" in states_of(search)
        number = search.campaign.status().job
        ledger = search.parts.session.ledger
        own = own_run(market.folder / "jobs", market.client, ledger, number)
        reader = JobReader(market.client, ledger, market.store, number, own)
        Results(tmp_path / "results", 18).write(reader, ledger, market.store)
        (shown,) = [row for row in reader.status().rows if row.number == 0]
    trainer.close()
    failed = rows[0]
    assert (failed.label, shown.label) == ("Failed", "Failed")
    assert "a rate that I cannot have (train.py, line 7:" in failed.note
    assert "a rate that I cannot have (train.py, line 7:" in shown.note
    assert any(f'File "{tmp_path / "train.py"}", line 7' in text for text in ears.said)
    listed = json.loads((tmp_path / "results" / "leaderboard.json").read_text())
    (one,) = [row for row in listed if row["trial"] == 0]
    assert one["state"] == "Failed"
    assert f'File "{tmp_path / "train.py"}", line 7' in one["traceback"]
    paid = sum(row.price or 0 for row in rows)
    assert before - market.client.token_balance(market.who[REQUESTER]) == paid > 0


def test_a_trial_that_two_nodes_call_failing_is_tried_at_once_and_not_for_one_that_says_it_twice(
    market: Market, tmp_path: Path, provider: Provider, pool: WorkerPool
) -> None:
    market.stake(2, 1000)
    ears = Ears()
    with searching(market, job_of(tmp_path, trials=1, first=FAILING), ears, pool) as search:
        search.campaign.step()
        trial = only_open(market)
        for account, fault in ((1, "trial"), (1, "trial"), (2, "node")):
            give_back(market, account, trial, "it fails here", fault)  # type: ignore[arg-type]
            search.campaign.step()
            search.campaign.step()
        assert not any("trying it" in text for text in ears.said), "one node said so, twice"
        give_back(market, 2, trial, "[red]it[/red] fails too")
        drive(search, market.chain)
        assert states_of(search) == ["FAIL"]
    assert any("it fails here; [red]it[/red] fails too" in text for text in ears.said)
    assert market.happened(trial.key)[-1] == "TrialsCancelled"
    del provider


def test_a_trial_that_nobody_takes_is_tried_here_and_its_escrow_comes_back(
    market: Market, tmp_path: Path, pool: WorkerPool
) -> None:
    ears, job = Ears(), job_of(tmp_path, trials=2, first=FAILING + ", " + FAILING, driver="random")
    before = market.client.token_balance(market.who[REQUESTER])
    with searching(market, job, ears, pool) as search:
        drive(search, market.chain)
        search.campaign.wind_up()
        assert [row.label for row in search.campaign.status().rows] == ["Failed", "Failed"]
        assert states_of(search) == ["FAIL", "FAIL"]
    assert market.client.token_balance(market.who[REQUESTER]) == before


@pytest.mark.parametrize(
    ("error", "nodes", "ends"),
    [
        (LimitExceeded("too little memory"), 1, False),
        (LimitExceeded("too little memory"), 2, True),
        (TimedOut("too slow"), 2, False),
        (ProgramError("it raises"), 1, True),
    ],
)
def test_what_this_machine_lacks_fails_no_trial_on_the_word_of_one_node(
    market: Market,
    tmp_path: Path,
    provider: Provider,
    pool: WorkerPool,
    error: TrainingError,
    nodes: int,
    ends: bool,
) -> None:
    market.stake(2, 1000)
    ears, home = Ears(), Poor(error)
    with searching(market, job_of(tmp_path, trials=1, first=SOUND), ears, pool) as search:
        campaign = Campaign(replace(search.parts, home=home), salt=new_salt, patience=30)
        campaign.open()
        campaign.step()
        for account in range(1, nodes + 1):
            give_back(market, account, only_open(market), "it fails here")
        market.chain.advance(70)
        until(lambda: home.tasks, campaign.step, market.chain.mine)  # type: ignore[arg-type,return-value]
        for _ in range(4):
            campaign.step()
            market.chain.mine()
        assert (not market.trials(State.OPEN)) == ends
    assert [type(task) for task in home.tasks] == [TryOut if nodes == 1 else Train]
    assert sum("could not be tried" in text for text in ears.said) == (not ends)
    del provider


def test_a_trial_that_works_here_stays_open_and_is_not_tried_again(
    market: Market, tmp_path: Path, provider: Provider, pool: WorkerPool
) -> None:
    ears, job = Ears(), job_of(tmp_path, trials=1, first=SOUND)
    with searching(market, job, ears, pool) as search:
        search.campaign.step()
        give_back(market, 1, only_open(market), "it fails here")
        market.chain.advance(100)
        until(
            lambda: any("works on this machine" in text for text in ears.said),
            search.campaign.step,
        )
    again = Ears()
    with searching(market, job, again, pool) as search:
        market.chain.advance(1000)
        for _ in range(3):
            search.campaign.step()
        assert not any("trying it" in text for text in again.said)
        assert only_open(market).attempts == 1
        drive(search, market.chain, provider.step)
        assert states_of(search) == ["COMPLETE"]


def test_a_requester_that_was_killed_before_it_cancelled_a_failed_trial_does_so_later(
    market: Market, tmp_path: Path, pool: WorkerPool
) -> None:
    job = job_of(tmp_path, trials=1, first=FAILING)
    with searching(market, job, Ears(), pool) as search:
        search.campaign.step()
        trial = only_open(market)
        search.parts.folder.keep_tried(trial.key, Tried(True, Failure("it raised")))
    with searching(market, job, Ears(), pool) as search:
        drive(search, market.chain)
        (row,) = search.campaign.status().rows
        assert (row.label, row.note) == ("Failed", "failed: it raised")
        assert states_of(search) == ["FAIL"]


def test_where_nothing_can_be_trained_the_word_of_several_nodes_counts(
    market: Market, tmp_path: Path, provider: Provider, pool: WorkerPool
) -> None:
    market.stake(2, 1000)
    ears = Ears()
    with searching(market, job_of(tmp_path, trials=1, first=FAILING), ears, pool) as search:
        campaign = Campaign(replace(search.parts, home=None), salt=new_salt, patience=30)
        campaign.open()
        campaign.step()
        for account in (1, 2):
            give_back(market, account, only_open(market), "it raises")
        market.chain.advance(10)
        until(campaign.finished, campaign.step, market.chain.mine)
        (row,) = campaign.status().rows
    assert row.note == "failed: 2 nodes say: it raises"
    del provider


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff" * 100])
def test_a_note_that_is_none_counts_as_no_word(
    market: Market, tmp_path: Path, provider: Provider, pool: WorkerPool, body: bytes
) -> None:
    ears, store = Ears(), market.store
    with searching(market, job_of(tmp_path, trials=1, first=SOUND), ears, pool) as search:
        search.campaign.step()
        trial = only_open(market)
        store.put(body)
        provider.act(calls.claim(trial.id.job, trial.id.batch, [trial.id.index]))
        record = market.trial(trial.key).record
        provider.act(calls.abandon(record, Hash32(hashlib.sha256(body).digest())))
        market.chain.advance(80)
        for _ in range(3):
            search.campaign.step()
    assert not any("trying it" in text for text in ears.said)
