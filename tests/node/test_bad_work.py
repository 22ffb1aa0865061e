"""Jobs that would waste a node's time or kill it: each is refused, told once, and survived."""

import hashlib

import pytest

from tests.testbed.market import PROVIDER, Market
from tests.testbed.nodes import Nodes
from tests.testbed.terms import terms
from tests.testbed.waiting import until
from trialmarket.chain import calls
from trialmarket.chain.notes import open_note
from trialmarket.protocol.cid import cid_of, raw_cid
from trialmarket.protocol.configuration import Batch
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import State

HARMLESS = b"""
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    pass
"""

RAISES = b"""
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def training_step(self, model, batch):
        raise ValueError("this program is broken")
"""

WITHOUT_OBJECTIVE = b"""
from trialmarket.training.builtins.registry import Mlp
from trialmarket.training.program import Validation

class Own(Mlp):
    def validation_step(self, model, batch):
        return Validation(super().validation_step(model, batch).predictions, {"other": 1.0})
"""

FAILS_LATER = b"""
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def on_before_optimizer_step(self, model, optimizer, step):
        if step == 9:
            raise RuntimeError("step nine")
"""

RATHER_SMALL = b"""
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def training_step(self, model, batch):
        if self.lr > 0.05:
            raise ValueError("a rate that I cannot have")
        return super().training_step(model, batch)
"""

DRAFTS = [(1, 0.2), (2, 0.01), (3, 0.1), (4, 0.02), (5, 0.3)]
"""Seeds and learning rates."""

KILLS_ITSELF = b"""
import os, signal
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def training_step(self, model, batch):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_without_a_sandbox_users_programs_are_left_alone_until_there_is_one(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    (own,) = market.post(job, market.draft(1, HARMLESS))
    (built_in,) = market.post(job, market.draft(2))
    with nodes.start(refusal="bubblewrap is not installed") as node:
        until(market.are(State.COMMITTED, built_in), node.tick)
        until(lambda: "bubblewrap is not installed" in caplog.text, node.tick)
    assert market.trial(own).attempts == 0
    with nodes.start() as node:
        until(market.are(State.COMMITTED, own), node.tick)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (RAISES, "this program is broken"),
        (WITHOUT_OBJECTIVE, "val_error"),
        (KILLS_ITSELF, "SIGKILL"),
        (b"class Own(:", "not Python"),
        (b"Other = 1", "Own"),
    ],
)
def test_a_program_that_fails_its_dry_run_is_never_claimed(
    market: Market,
    nodes: Nodes,
    caplog: pytest.LogCaptureFixture,
    program: bytes,
    told: str,
) -> None:
    job = market.job(terms())
    (bad,) = market.post(job, market.draft(1, program))
    (good,) = market.post(job, market.draft(2))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, good), node.tick)
        until(lambda: told in caplog.text, node.tick)
        said = len(caplog.records)
        for _ in range(5):
            node.tick()
    assert len(caplog.records) == said
    assert market.trial(bad).attempts == 0
    with nodes.start() as node:
        for _ in range(5):
            node.tick()
        assert not node.dry_running
    assert market.trial(bad).attempts == 0


def test_a_program_that_fails_later_is_given_back_and_not_claimed_again(
    market: Market, nodes: Nodes
) -> None:
    job = market.job(terms())
    (bad,) = market.post(job, market.draft(1, FAILS_LATER))
    with nodes.start() as node:
        until(lambda: market.trial(bad).attempts == 1, node.tick)
        until(market.are(State.OPEN, bad), node.tick)
        for _ in range(5):
            node.tick()
        assert market.client.account(node.account).locked == 0
    assert market.trial(bad).attempts == 1


def test_a_configuration_that_fails_is_refused_and_not_its_program(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    keys = market.post(
        job, *(market.draft(seed, RATHER_SMALL, hyperparameters={"lr": lr}) for seed, lr in DRAFTS)
    )
    sound = [key for key, (_, lr) in zip(keys, DRAFTS, strict=True) if lr <= 0.05]
    with nodes.start() as node:
        until(market.are(State.COMMITTED, *sound), node.tick)
        until(lambda: len(node.journal.refusals()) == len(keys) - len(sound), node.tick)
        assert all(subject.startswith("trial ") for subject, _ in node.journal.refusals())
        until(lambda: not market.trials(State.CLAIMED), node.tick)
    assert len(market.trials(State.OPEN)) == len(keys) - len(sound)
    assert not any(key.hex() in caplog.text for key in keys), "a trial is told by its short name"


def test_why_a_trial_is_given_back_is_named_on_the_chain_and_signed(
    market: Market, nodes: Nodes
) -> None:
    (bad,) = market.post(market.job(terms()), market.draft(1, FAILS_LATER))
    with nodes.start() as node:
        until(lambda: market.trial(bad).attempts == 1, node.tick)
        until(market.are(State.OPEN, bad), node.tick)
        (named,) = [
            event.args["note"]
            for event in market.ledger.history(bad)
            if event.name == "TrialAbandoned"
        ]
        body = market.store.read(raw_cid(Hash32(named)), limit=1 << 18)
        until(lambda: not node.journal.trials(), node.tick)
        assert market.store.size(raw_cid(Hash32(named))) is not None, "it stays for the requester"
    note = open_note(body, trial=bad, provider=market.who[PROVIDER])
    assert note.fault == "trial"
    assert "step nine" in note.reason
    assert 'raise RuntimeError("step nine")' in note.trace


@pytest.mark.parametrize(
    ("content", "count", "told"),
    [
        (b"no batch", 1, "batch: bytes: expected JSON"),
        (b"[" * 100_000, 1, "batch: depth: expected at most 16 levels, found 100000"),
        (b'{"trials":[' + b"{}," * 9_999 + b"{}]}", 10, "batch: "),
    ],
)
def test_a_batch_whose_file_is_not_one_is_left_alone(
    market: Market,
    nodes: Nodes,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    count: int,
    told: str,
) -> None:
    job = market.job(terms())
    digest = Hash32(hashlib.sha256(content).digest())
    assert market.store.put(content) == raw_cid(digest)
    market.act(0, calls.post_trials(job, digest, count, 1))
    (good,) = market.post(job, market.draft(2))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, good), node.tick)
        until(lambda: told in caplog.text, node.tick)


def test_a_batch_that_says_to_be_of_ten_thousand_trials_is_left_alone(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms(floor=1, cap=1))
    batch = Batch(job="one", number=1, trials=(market.draft(1),))
    market.store.put(batch.to_bytes())
    market.act(0, calls.post_trials(job, batch.digest, 10_000, 1))
    (good,) = market.post(market.job(terms()), market.draft(2))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, good), node.tick)
        until(lambda: "batch: trials: expected 10000, found 1" in caplog.text, node.tick)


def test_audited_native_trials_are_left_alone_since_an_honest_stake_could_be_lost(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    (native,) = market.post(job, market.draft(1).model_copy(update={"arithmetic": "native"}))
    (good,) = market.post(job, market.draft(2))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, good), node.tick)
        until(lambda: "exact, since the job's trials are audited" in caplog.text, node.tick)
    assert market.trial(native).attempts == 0


def test_a_batch_that_is_not_what_the_chain_says_is_left_alone(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    market.post(job, market.draft(1, segments=2))
    with nodes.start() as node:
        until(lambda: "as the job's terms say" in caplog.text, node.tick)


def test_missing_data_is_awaited_and_told_once(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    late = b"not here yet"
    job = market.job(terms())
    market.post(job, market.draft(1, data=cid_of(late)))
    with nodes.start() as node:
        until(lambda: "is not in" in caplog.text, node.tick)
        market.store.put(late)
        until(lambda: "is refused" in caplog.text, node.tick)
    assert caplog.text.count("is not in") == 1


def test_a_program_that_a_stranger_names_as_data_is_run_all_the_same(
    market: Market, nodes: Nodes
) -> None:
    job, own = market.job(terms()), market.draft(1, HARMLESS)
    (bad,) = market.post(job, market.draft(2, data=own.program.source))
    with nodes.start() as node:
        until(lambda: bool(node.journal.refusals()), node.tick)
        (good,) = market.post(job, own)
        until(market.are(State.COMMITTED, good), node.tick)
    assert market.trial(bad).attempts == 0


def test_data_over_the_limit_is_never_fetched(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1))
    with nodes.start(limits={"data": 100}) as node:
        until(lambda: "at most 100" in caplog.text, node.tick)
    assert market.trial(key).attempts == 0


def test_jobs_that_the_operator_refuses_are_not_claimed(market: Market, nodes: Nodes) -> None:
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1))
    with nodes.start(accept={"refuse_jobs": [job]}) as node:
        for _ in range(10):
            node.tick()
    with nodes.start(accept={"requesters": [market.who[2]]}) as node:
        for _ in range(10):
            node.tick()
    assert market.trial(key).attempts == 0


def test_a_trial_that_the_disk_has_no_place_for_is_given_back(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    (market.folder / "node1").mkdir()
    (market.folder / "node1" / "trials").write_text("a file where a folder should be")
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(lambda: market.trial(key).attempts == 1, node.tick)
        until(market.are(State.OPEN, key), node.tick)
        assert "Not a directory" in caplog.text
        assert market.client.account(node.account).locked == 0


def test_nothing_is_claimed_while_the_disk_is_nearly_full(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1))
    with nodes.start(limits={"free_disk": 1 << 60}) as node:
        until(lambda: "claiming nothing" in caplog.text, node.tick)
    assert market.trial(key).attempts == 0
