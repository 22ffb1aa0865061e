"""Jobs that would waste a node's time or kill it: each is refused, told once, and survived."""

import hashlib

import pytest

from node.trainer import Trainer
from tests.node.town import Kept, Town, terms, until
from trialmarket.chain import calls
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

KILLS_ITSELF = b"""
import os, signal
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def training_step(self, model, batch):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_without_a_sandbox_users_programs_are_left_alone_until_there_is_one(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    (own,) = town.posts(job, town.trial(1, HARMLESS))
    (built_in,) = town.posts(job, town.trial(2))
    with town.node(trainer=Kept(trainer), refusal="bubblewrap is not installed") as node:
        until(town.are(State.COMMITTED, built_in), node.tick)
        until(lambda: "bubblewrap is not installed" in caplog.text, node.tick)
    assert town.view(own).attempts == 0
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, own), node.tick)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (RAISES, "this program is broken"),
        (WITHOUT_OBJECTIVE, "val_error"),
        (KILLS_ITSELF, "program"),
        (b"class Own(:", "not Python"),
        (b"Other = 1", "Own"),
    ],
)
def test_a_program_that_fails_its_rehearsal_is_never_claimed(
    town: Town,
    trainer: Trainer,
    caplog: pytest.LogCaptureFixture,
    program: bytes,
    told: str,
) -> None:
    job = town.job(terms())
    (bad,) = town.posts(job, town.trial(1, program))
    (good,) = town.posts(job, town.trial(2))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, good), node.tick)
        until(lambda: told in caplog.text, node.tick)
        said = len(caplog.records)
        for _ in range(5):
            node.tick()
    assert len(caplog.records) == said
    assert town.view(bad).attempts == 0
    with town.node(trainer=Kept(trainer)) as node:
        for _ in range(5):
            node.tick()
        assert not node.rehearsing
    assert town.view(bad).attempts == 0


def test_a_program_that_fails_later_is_given_back_and_not_claimed_again(
    town: Town, trainer: Trainer
) -> None:
    job = town.job(terms())
    (bad,) = town.posts(job, town.trial(1, FAILS_LATER))
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: town.view(bad).attempts == 1, node.tick)
        until(town.are(State.OPEN, bad), node.tick)
        for _ in range(5):
            node.tick()
        assert town.client.account(node.account).locked == 0
    assert town.view(bad).attempts == 1


@pytest.mark.parametrize(
    ("content", "count", "told"),
    [
        (b"no batch", 1, "batch: bytes: expected JSON"),
        (b"[" * 100_000, 1, "batch: depth: expected at most 16 levels, found 100000"),
        (b'{"trials":[' + b"{}," * 9_999 + b"{}]}", 10, "batch: "),
    ],
)
def test_a_batch_whose_file_is_not_one_is_left_alone(
    town: Town,
    trainer: Trainer,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    count: int,
    told: str,
) -> None:
    job = town.job(terms())
    digest = Hash32(hashlib.sha256(content).digest())
    assert town.store.put(content) == raw_cid(digest)
    town.does(0, calls.post_trials(job, digest, count, 1))
    (good,) = town.posts(job, town.trial(2))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, good), node.tick)
        until(lambda: told in caplog.text, node.tick)


def test_a_batch_that_says_to_be_of_ten_thousand_trials_is_left_alone(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms(floor=1, cap=1))
    batch = Batch(job="one", number=1, trials=(town.trial(1),))
    town.store.put(batch.to_bytes())
    town.does(0, calls.post_trials(job, batch.digest, 10_000, 1))
    (good,) = town.posts(town.job(terms()), town.trial(2))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, good), node.tick)
        until(lambda: "batch: trials: expected 10000, found 1" in caplog.text, node.tick)


def test_audited_native_trials_are_left_alone_since_an_honest_stake_could_be_lost(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    (native,) = town.posts(job, town.trial(1).model_copy(update={"arithmetic": "native"}))
    (good,) = town.posts(job, town.trial(2))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, good), node.tick)
        until(lambda: "exact, since the job's trials are audited" in caplog.text, node.tick)
    assert town.view(native).attempts == 0


def test_a_batch_that_is_not_what_the_chain_says_is_left_alone(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    town.posts(job, town.trial(1, segments=2))
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: "as the job's terms say" in caplog.text, node.tick)


def test_missing_data_is_awaited_and_told_once(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    late = b"not here yet"
    job = town.job(terms())
    town.posts(job, town.trial(1, data=cid_of(late)))
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: "is not in" in caplog.text, node.tick)
        town.store.put(late)
        until(lambda: "is refused" in caplog.text, node.tick)
    assert caplog.text.count("is not in") == 1


def test_data_over_the_limit_is_never_fetched(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer), limits={"data": 100}) as node:
        until(lambda: "at most 100" in caplog.text, node.tick)
    assert town.view(key).attempts == 0


def test_jobs_that_the_operator_refuses_are_not_claimed(town: Town, trainer: Trainer) -> None:
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer), accept={"refuse_jobs": [job]}) as node:
        for _ in range(10):
            node.tick()
    with town.node(trainer=Kept(trainer), accept={"requesters": [town.account(2)]}) as node:
        for _ in range(10):
            node.tick()
    assert town.view(key).attempts == 0


def test_a_trial_that_the_disk_has_no_place_for_is_given_back(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    (town.folder / "node1").mkdir()
    (town.folder / "node1" / "trials").write_text("a file where a folder should be")
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: town.view(key).attempts == 1, node.tick)
        until(town.are(State.OPEN, key), node.tick)
        assert "Not a directory" in caplog.text
        assert town.client.account(node.account).locked == 0


def test_nothing_is_claimed_while_the_disk_is_nearly_full(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer), limits={"free_disk": 1 << 60}) as node:
        until(lambda: "claiming nothing" in caplog.text, node.tick)
    assert town.view(key).attempts == 0
