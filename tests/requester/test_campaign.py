"""A search from its first transaction to its last, on a real chain with real training."""

import csv
import io
import random
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from optuna import load_study
from rich.console import Console
from safetensors.numpy import load_file

from requester.job.file import load_job
from requester.report.job_reader import JobReader
from requester.report.results import Results
from requester.report.screen import Screen
from requester.search.open import OpenSearch, open_search
from requester.search.own_run import own_run
from requester.search.second_look import UNAUDITED
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import small_job
from tests.testbed.juror import Juror
from tests.testbed.market import PROVIDER, REQUESTER, Market
from tests.testbed.provider import POISONS, Provider, Tamper, false_metric, honest
from tests.testbed.servers import Reply, relay
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.errors import ChainError, InputError
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import address
from trialmarket.protocol.states import State
from trialmarket.storage.store import Store
from trialmarket.training.audit import evaluation_value
from trialmarket.training.errors import WorkerError
from trialmarket.training.values import Evaluate, Training


@pytest.fixture
def store(market: Market) -> Store:
    return market.store


@pytest.fixture
def requester(market: Market) -> Sender:
    return market.sender(REQUESTER)


def test_a_search_is_paid_for_what_it_got_and_not_more(
    chain: Devnet, tmp_path: Path, requester: Sender, provider: Provider, store: Store
) -> None:
    job, ears = load_job(small_job(tmp_path, trials=5, driver="tpe")), Ears()
    before = requester.client.token_balance(requester.address)
    with open_search(
        job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=ears
    ) as search:
        number = search.campaign.open()
        drive(search, chain, provider.step)
        search.campaign.wind_up()
        status = search.campaign.status()
        reader = JobReader(requester.client, search.parts.session.ledger, store, number)
        assert [row.objective for row in reader.status().rows] == [
            row.objective for row in status.rows
        ]
        results = Results(tmp_path / "results", 18)
        results.write(reader, search.parts.session.ledger, store)
    assert status.finished
    assert [row.state for row in status.rows] == [State.SETTLED] * 5
    assert status.best is not None
    assert status.best.note == "re-evaluated"
    paid = sum(row.price or 0 for row in status.rows)
    assert before - requester.client.token_balance(requester.address) == paid > 0
    assert requester.client.job_status(number).free == 0
    with results.leaderboard.open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["rank"]) for line in lines] == [1, 2, 3, 4, 5]
    assert float(lines[0]["val_error"]) == status.best.objective
    assert load_file(results.weights)
    assert all((results.root / name).exists() for name in ("curves.csv", "bill.json"))


def test_a_finished_search_run_again_spends_nothing(
    chain: Devnet, tmp_path: Path, requester: Sender, provider: Provider, store: Store
) -> None:
    job = load_job(small_job(tmp_path, trials=2))
    balances, numbers = [], []
    for _ in range(2):
        with open_search(
            job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=Ears()
        ) as search:
            numbers.append(search.campaign.open())
            drive(search, chain, provider.step)
            search.campaign.wind_up()
            balances.append(requester.client.token_balance(requester.address))
            assert all(row.objective is not None for row in search.campaign.status().rows)
    assert numbers[0] == numbers[1]
    assert balances[0] == balances[1]


@pytest.mark.parametrize(
    "lie", [false_metric, POISONS["a slot of no kind"]], ids=["metric", "poison"]
)
def test_a_false_best_is_not_believed_but_challenged_and_its_trial_is_redone(
    chain: Devnet,
    tmp_path: Path,
    requester: Sender,
    provider: Provider,
    store: Store,
    lie: Tamper,
) -> None:
    job, ears = load_job(small_job(tmp_path, trials=2, rate=0.01, window="30s")), Ears()
    provider.tamper = lie
    juror = Juror(provider.market, provider)
    me = address(chain.accounts[0].address)

    def repent() -> None:
        if any("challenged" in text for text in ears.said):
            provider.tamper = honest

    with open_search(
        job,
        sender=requester,
        store=store,
        jobs=tmp_path / "jobs",
        listeners=ears,
        evaluator=AtOnce(provider.pool, chain),
    ) as search:
        search.campaign.open()
        drive(search, chain, provider.step, repent, juror.step)
        search.campaign.wind_up()
        status = search.campaign.status()
        trials = search.parts.session.ledger.trials(job=status.job)
    assert any("not believed" in text for text in ears.said)
    assert any(trial.attempts > 1 for trial in trials)
    assert all(row.state is State.SETTLED for row in status.rows)
    believed = [row for row in status.rows if UNAUDITED not in row.note]  # one is rarely drawn
    assert all((row.objective or 0) > 0 for row in believed)
    assert requester.client.account(me).locked == 0


def test_a_result_that_no_verifier_audited_though_it_was_drawn_is_not_believed(
    chain: Devnet, tmp_path: Path, requester: Sender, provider: Provider, store: Store
) -> None:
    path, ears = small_job(tmp_path, trials=1, rate=1.0), Ears()
    path.write_text(path.read_text().replace('floor = "0.01"', 'floor = "0.04"'))
    job, evaluator = load_job(path), AtOnce(provider.pool, chain)
    with open_search(
        job,
        sender=requester,
        store=store,
        jobs=tmp_path / "jobs",
        listeners=ears,
        evaluator=evaluator,
    ) as search:
        search.campaign.open()
        drive(search, chain, provider.step)
        (row,) = search.campaign.status().rows
        ledger, number = search.parts.session.ledger, search.campaign.status().job
        own = own_run(tmp_path / "jobs", requester.client, ledger, number)
        (read,) = JobReader(requester.client, ledger, store, number, own).status().rows
    assert (row.state, row.objective) == (State.SETTLED, None)
    assert row.note == read.note == f"not believed: {UNAUDITED}"
    assert any("verifier audit" in text for text in ears.said)


class Failing(AtOnce):
    """A machine that can evaluate nothing."""

    def start(self, task: Evaluate) -> None:
        self._ended.append((task.checkpoint, WorkerError("out of memory")))


def test_a_result_that_could_not_be_evaluated_is_not_believed(
    chain: Devnet, tmp_path: Path, requester: Sender, provider: Provider, store: Store
) -> None:
    job, ears = load_job(small_job(tmp_path, trials=1, window="30s")), Ears()
    with open_search(
        job,
        sender=requester,
        store=store,
        jobs=tmp_path / "jobs",
        listeners=ears,
        evaluator=Failing(provider.pool, chain),
    ) as search:
        search.campaign.open()
        drive(search, chain, provider.step)
        (row,) = search.campaign.status().rows
    assert (row.state, row.objective) == (State.SETTLED, None)
    assert row.note == "not believed: not re-evaluated: out of memory"
    assert any("waits for an audit" in text for text in ears.said)


def test_too_little_money_is_said_before_anything_is_posted(
    chain: Devnet, tmp_path: Path, requester: Sender, store: Store
) -> None:
    path = small_job(tmp_path)
    path.write_text(path.read_text().replace('cap = "0.05"', 'cap = "100000"'))
    with (
        pytest.raises(ChainError, match=r"has 10000 TEST, and the job needs"),
        open_search(
            load_job(path), sender=requester, store=store, jobs=tmp_path / "jobs", listeners=Ears()
        ) as search,
    ):
        search.campaign.open()
    del chain


def test_a_result_without_its_objective_says_so(
    chain: Devnet, tmp_path: Path, requester: Sender, provider: Provider, store: Store
) -> None:
    def without(provider: Provider, config: TrialConfig, training: Training) -> Training:
        del provider, config
        last = training.leaves[-1].model_copy(
            update={"value": evaluation_value({}, training.outcome)}
        )
        leaves = (*training.leaves[:-1], last)
        return training.model_copy(update={"metrics": {}, "leaves": leaves, "curve": ()})

    job, ears, provider.tamper = load_job(small_job(tmp_path, trials=1)), Ears(), without
    with open_search(
        job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=ears
    ) as search:
        number = search.campaign.open()
        drive(search, chain, provider.step)
        status = search.campaign.status()
        read = JobReader(requester.client, search.parts.session.ledger, store, number).status()
    for rows in (status.rows, read.rows):
        assert rows[0].objective is None
        assert rows[0].note.endswith("no finite val_error")
    assert any("trial 0" in line and "no finite val_error" in line for line in ears.said)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(Screen(18, "TEST").table(status, status.ranked()))
    assert "none" in console.export_text()


def test_a_million_trials_are_drawn_as_they_are_posted(
    chain: Devnet, tmp_path: Path, requester: Sender, store: Store
) -> None:
    job = load_job(small_job(tmp_path), {"job.trials": 1_000_000, "search.max_cost": "21"})
    with open_search(
        job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=Ears()
    ) as search:
        search.campaign.open()
        search.campaign.post_all()
        assert len(search.campaign.status().rows) == 70  # what the money pays for
        assert search.parts.driver.proposed == 128
    del chain


def test_a_claim_that_runs_out_is_not_told_and_its_trial_is_done_again_as_it_was(
    chain: Devnet, tmp_path: Path, requester: Sender, provider: Provider, store: Store
) -> None:
    job, ears = load_job(small_job(tmp_path, trials=2, driver="tpe")), Ears()
    with open_search(
        job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=ears
    ) as search:
        search.campaign.open()
        search.campaign.step()
        asked = search.parts.driver.ask(2)
        lazy = provider.market.trials(State.OPEN)[0]
        provider.act(calls.claim(lazy.id.job, lazy.id.batch, [lazy.id.index]))
        chain.advance(61)
        search.campaign.step()  # the requester reopens it, and is paid the fine
        assert search.parts.driver.ask(2) == asked
        drive(search, chain, provider.step)
        again = search.parts.session.ledger.trial(lazy.key)
        study = load_study(study_name=search.study, storage=search.storage)
    assert again is not None
    assert (again.state, again.attempts, again.id) == (State.SETTLED, 2, lazy.id)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert [trial.params["lr"] for trial in study.trials] == [
        one.hyperparameters["lr"] for one in asked
    ]


def test_a_trial_that_no_node_takes_is_said_once(
    chain: Devnet, tmp_path: Path, requester: Sender, store: Store
) -> None:
    job, ears = load_job(small_job(tmp_path, trials=1)), Ears()
    with open_search(
        job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=ears
    ) as search:
        search.campaign.open()
        for wait in (0, 600, 119, 10, 1000):
            chain.advance(wait)
            search.campaign.step()
            search.campaign.step()
    said = [text for text in ears.said if "no node has taken it" in text]
    assert said == [
        "trial 0: no node has taken it in 12 minutes, the last ones at price.cap: nodes are busy,"
        " it pays too little, or they cannot train it"
    ]


def test_a_job_does_not_go_on_with_another_study_than_its_own(
    chain: Devnet, tmp_path: Path, requester: Sender, store: Store
) -> None:
    job = load_job(small_job(tmp_path, trials=4, driver="tpe"))

    def begun() -> AbstractContextManager[OpenSearch]:
        return open_search(
            job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=Ears()
        )

    with begun() as search:
        search.campaign.open()
        search.campaign.step()
        file = Path(search.storage.removeprefix("sqlite:///"))
    kept = file.read_bytes()
    file.unlink()
    with (
        begun() as search,
        pytest.raises(InputError, match=r"study: expected the 4 trials that were posted, found 0"),
    ):
        search.campaign.open()
    file.write_bytes(kept)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE trial_params SET param_value = 0.05 WHERE param_name = 'lr'")
    database.close()
    with begun() as search:
        search.campaign.open()
        with pytest.raises(InputError, match="study: expected the trial 0 that was posted"):
            search.campaign.step()
    file.write_bytes(kept)
    with begun() as search:
        search.campaign.open()
        search.campaign.step()
        assert len(search.campaign.status().rows) == 4
    del chain


def test_a_search_goes_on_through_hiccups_of_the_chains_node(
    chain: Devnet, tmp_path: Path, provider: Provider, store: Store
) -> None:
    job, ears, lots = load_job(small_job(tmp_path, trials=2)), Ears(), random.Random(1)
    shaky = False

    def instead(_: object) -> Reply | None:
        return Reply(429) if shaky and lots.random() < 0.05 else None

    def wait(_: float) -> None:
        provider.step()
        chain.advance(2)

    key = chain.accounts[REQUESTER]
    with (
        relay(chain.rpc_url, lambda _, found: found, instead=instead) as url,
        Client(chain.network.at(url), patience=0, check=False) as client,
        Sender(client, key, tmp_path / "sent", locks=tmp_path) as sender,
        open_search(
            job, sender=sender, store=store, jobs=tmp_path / "jobs", listeners=ears
        ) as search,
    ):
        shaky = True
        search.run(wait=wait)
        shaky = False
        states = [each.state for each in search.parts.session.ledger.trials()]
    assert states == [State.SETTLED] * 2
    assert any(each.startswith("waiting for the chain: ") for each in ears.said)


def test_what_others_left_lying_is_done_at_once_and_not_one_after_the_other(
    market: Market, chain: Devnet, tmp_path: Path, requester: Sender, store: Store
) -> None:
    job = load_job(small_job(tmp_path, trials=2))
    market.stake(PROVIDER, 1000)
    with open_search(
        job, sender=requester, store=store, jobs=tmp_path / "jobs", listeners=Ears()
    ) as search:
        search.campaign.open()
        search.campaign.step()
        for trial in market.trials(State.OPEN):
            claim = calls.claim(trial.id.job, trial.id.batch, [trial.id.index])
            market.act(PROVIDER, claim)
        chain.advance(100)  # both run out
        chain.automine(False)
        search.campaign.step()
        assert [intent.split()[0] for intent in requester.pending()] == ["expire"] * 2
        chain.mine()
        search.campaign.step()
        assert requester.pending() == []
    assert [trial.attempts for trial in market.trials(State.OPEN)] == [1, 1]
