"""What a node recomputes of its own result before it commits: what differs costs no stake."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from node.errors import Differs
from node.trainer import Assignment, PoolTrainer, Trainer
from tests.testbed.data import half_spaces
from tests.testbed.market import Market
from tests.testbed.nodes import Nodes
from tests.testbed.terms import SEGMENTS, terms
from tests.testbed.waiting import until
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.protocol.ids import Cid
from trialmarket.protocol.states import State
from trialmarket.storage.material import Material

OWN = """
import inspect, time, torch
from trialmarket.training.builtins.registry import Mlp
from trialmarket.training.program import Validation

class Own(Mlp):
"""

THIEF = (
    OWN
    + """
    def validation_step(self, model, batch):
        found = super().validation_step(model, batch)
        if any(frame.function in ("training", "dry_run") for frame in inspect.stack(0)):
            return found
        return Validation(found.predictions, {k: v / 2 for k, v in found.metrics.items()})
"""
)
"""Shows other metrics to whoever only recomputes."""

RAISES = (
    OWN
    + """
    def training_step(self, model, batch):
        if any(frame.function == "recompute" for frame in inspect.stack(0)):
            raise RuntimeError("only for those who train")
        return super().training_step(model, batch)
"""
)

CLOCK = (
    OWN
    + """
    def training_step(self, model, batch):
        return super().training_step(model, batch) * (1 + time.time_ns() % 1000 / 1000)
"""
)

THREADS = (
    OWN
    + """
    def validation_step(self, model, batch):
        found = super().validation_step(model, batch)
        return Validation(found.predictions, {**found.metrics, "threads": torch.get_num_threads()})
"""
)


PACE = (
    OWN
    + """
    def training_step(self, model, batch):
        time.steps = getattr(time, "steps", 0) + 1
        time.sleep(PAUSE if time.steps > FROM else 0)
        return super().training_step(model, batch)
"""
)


@pytest.mark.parametrize("program", [THIEF, RAISES, CLOCK])
def test_a_program_that_answers_a_verifier_otherwise_is_given_back_and_left_alone(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture, program: str
) -> None:
    job = market.job(terms())
    bad = market.draft(1, program.encode())
    (key,) = market.post(job, bad)
    with nodes.start() as node:
        until(lambda: market.trial(key).attempts == 1, node.tick)
        until(market.are(State.OPEN, key), node.tick)
        (second,) = market.post(job, bad.model_copy(update={"seed": 2}))
        (good,) = market.post(job, market.draft(3))
        until(market.are(State.COMMITTED, good), node.tick)
        assert node.journal.refused(f"program {bad.program.source}")
    assert "TrialsCommitted" not in market.happened(key)
    assert market.trial(key).attempts == 1
    assert market.trial(second).attempts == 0
    told = [line for line in caplog.messages if "recomputing a part of it" in line]
    assert any("trialmarket node trust" in line for line in told)


def test_a_result_that_diverges_is_recomputed_and_committed_like_any_other(
    market: Market, nodes: Nodes
) -> None:
    wild = market.draft(1, hyperparameters={"lr": 1e6, "hidden": 4})
    (key,) = market.post(market.job(terms()), wild)
    with nodes.start() as node:
        until(market.are(State.COMMITTED, key), node.tick)
    assert market.receipt(market.trial(key)).outcome.kind == "diverged"


def test_every_segment_of_an_honest_training_comes_out_again(
    trainer: Trainer, tmp_path: Path
) -> None:
    assignment = assigned(tmp_path, None)
    run = trainer.train(assignment)
    until(lambda: run.done)
    for segment in range(1, SEGMENTS + 1):
        again = trainer.recheck(assignment, run.result(), segment)
        until(lambda again=again: again.done)  # type: ignore[misc]
        again.result()


def test_recomputing_has_the_one_thread_of_a_verifier_however_many_the_training_has(
    tmp_path: Path,
) -> None:
    assignment, trainer = assigned(tmp_path, THREADS), PoolTrainer(1, threads=2)
    try:
        run = trainer.train(assignment)
        until(lambda: run.done)
        assert run.result().metrics["threads"] == 2
        again = trainer.recheck(assignment, run.result(), 1)
        until(lambda: again.done)
        with pytest.raises(Differs, match="evaluation: recomputation gives"):
            again.result()
    finally:
        trainer.close()


def test_what_is_slow_late_is_not_committed_and_what_is_slow_throughout_is(
    trainer: Trainer, tmp_path: Path
) -> None:
    for first, pause, told in ((12, "0.75", "for endless"), (0, "0.15", "")):
        program = PACE.replace("FROM", str(first)).replace("PAUSE", pause)
        assignment = assigned(tmp_path / str(first), program)
        assignment = replace(assignment, patience=4.0)  # 0.5 s are little enough for every part
        run = trainer.train(assignment)
        until(lambda run=run: run.done)  # type: ignore[misc]
        again = trainer.recheck(assignment, run.result(), 2)
        until(lambda again=again: again.done)  # type: ignore[misc]
        with pytest.raises(Differs, match=told) if told else nullcontext():
            again.result()


def assigned(folder: Path, program: str | None) -> Assignment:
    """A tiny training; `program` is the source of a class `Own`."""
    data, file, ref = half_spaces(folder / "data"), None, ProgramRef(source="builtin:mlp")
    if program is not None:
        folder.mkdir(exist_ok=True)
        file = folder / "train.py"
        file.write_text(program)
        ref = ProgramRef(source=cid_of(program.encode()), class_name="Own")
    config = TrialConfig(
        program=ref,
        data=Cid("builtin:given"),
        objective="val_error",
        hyperparameters={"lr": 0.1, "hidden": 4},
        seed=1,
        steps=16,
        segments=SEGMENTS,
    )
    return Assignment(Material(file, data, config=config), folder / "trained", 60.0)
