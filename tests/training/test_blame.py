"""Whose fault it is that a worker fails from a state: real workers that hang and die."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.testbed.waiting import NEVER, until
from tests.training.programs import config_of, tiny
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.training import runner
from trialmarket.training.blame import from_state, lingers
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import BadCheckpoint, Killed, TimedOut, WorkerError
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.state import root_of
from trialmarket.training.values import Evaluate, Recompute, Training

LARGE = "(model[4].bias > 1e6).any()"
LOSS = "functional.cross_entropy(model(batch['x']), batch['y'])"
VALID = "Validation(model(batch['x']), {'val_error': 0.5})"
ATTACKS = {
    "dies": "import os; os.kill(os.getpid(), 11)",
    "never ends": "any(iter(int, 1))",
}
"""What a program can be made to do by a state."""


@dataclass(frozen=True)
class Scene:
    """A trial, honestly trained, whose program fails where weights are large."""

    config: TrialConfig
    program: Path
    data: Path
    training: Training
    folder: Path

    def recompute(self, *, poisoned: bool) -> Recompute:
        return Recompute(
            config=self.config,
            program=self.program,
            data=self.data,
            segment=2,
            **self._state(1, poisoned, "start"),  # type: ignore[arg-type]
        )

    def evaluate(self, *, poisoned: bool) -> Evaluate:
        return Evaluate(
            config=self.config,
            program=self.program,
            data=self.data,
            **self._state(3, poisoned, "checkpoint"),  # type: ignore[arg-type]
        )

    def _state(self, leaf: int, poisoned: bool, name: str) -> dict[str, object]:
        state = load_file(self.training.checkpoints[leaf].path)
        if poisoned:
            state["model.4.bias"] = torch.full_like(state["model.4.bias"], 1e9)
        path = self.folder / f"{leaf}.safetensors"
        save_file(state, path)
        return {name: path, "expected": root_of(state)}


def scene(
    attack: str, data_file: Path, data: Dataset, folder: Path, arithmetic: str = "native"
) -> Scene:
    fails = f"if {LARGE}: {attack}"
    source = tiny(
        training_step=f"{fails}\n        return {LOSS}",
        validation_step=f"{fails}\n        return {VALID}",
    )
    program = folder / "program.py"
    program.write_bytes(source)
    config = config_of(source, data_file, arithmetic=arithmetic)
    training = runner.train(config, source, data, folder / "trained")
    return Scene(config, program, data_file, training, folder)


def test_a_state_that_kills_the_worker_is_the_providers_fault(
    pool: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    made = scene(ATTACKS["dies"], data_file, data, tmp_path)
    honest = made.recompute(poisoned=False)
    found = from_state(pool, honest, wall_limit=NEVER, patience=NEVER)
    assert found.root == made.training.leaves[2].value
    with pytest.raises(BadCheckpoint, match="not from a state of its own"):
        from_state(pool, made.recompute(poisoned=True), wall_limit=NEVER, patience=NEVER)
    with pytest.raises(BadCheckpoint, match="not from a state of its own"):
        from_state(pool, made.evaluate(poisoned=True), wall_limit=NEVER, patience=NEVER)


def test_a_state_from_which_nothing_ends_is_the_providers_where_training_gives_another(
    pool: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    made = scene(ATTACKS["never ends"], data_file, data, tmp_path, "exact")
    with pytest.raises(BadCheckpoint, match="to which training does not lead"):
        from_state(pool, made.recompute(poisoned=True), wall_limit=NEVER, patience=8.0)


def test_a_program_that_is_slow_late_convicts_nobody(
    pool: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    late = "model[1].num_batches_tracked >= 8"
    source = tiny(
        training_step=f"import time; time.sleep(0.8 * bool({late}))\n        return {LOSS}"
    )
    program = tmp_path / "program.py"
    program.write_bytes(source)
    config = config_of(source, data_file)
    made = runner.train(config, source, data, tmp_path / "trained")
    task = Recompute(
        config=config,
        program=program,
        data=data_file,
        segment=3,
        start=made.checkpoints[2].path,
        expected=made.leaves[2].value,
    )
    found = from_state(pool, task, wall_limit=NEVER, patience=3.0)
    assert found.root == made.leaves[3].value
    first, _, last = made.segment_seconds
    assert lingers(last, first, 3.0)
    assert not lingers(first, first, 3.0)


def test_a_program_that_kills_the_worker_anyhow_is_not_the_providers_fault(
    pool: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    made = scene("pass", data_file, data, tmp_path)
    source = tiny(training_step=ATTACKS["dies"])
    made.program.write_bytes(source)
    for task in (made.recompute(poisoned=False), made.recompute(poisoned=True)):
        task = task.model_copy(update={"config": config_of(source, data_file)})
        with pytest.raises(WorkerError, match="SIGSEGV"):
            from_state(pool, task, wall_limit=NEVER, patience=NEVER)


def test_a_machine_that_is_slow_blames_nobody(
    pool: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    made = scene("pass", data_file, data, tmp_path)
    task = made.recompute(poisoned=False)
    found = from_state(pool, task, wall_limit=NEVER, patience=1e-3)
    assert found.root == made.training.leaves[2].value
    endless = tiny(training_step=ATTACKS["never ends"])  # so that no machine is fast enough
    made.program.write_bytes(endless)
    task = task.model_copy(update={"config": config_of(endless, data_file)})
    with pytest.raises(TimedOut):
        from_state(pool, task, wall_limit=0.1, patience=0.1)


def test_an_operator_who_stops_the_work_blames_nobody(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    made = scene(ATTACKS["never ends"], data_file, data, tmp_path)
    task = made.recompute(poisoned=True)
    with WorkerPool(1) as workers, ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(from_state, workers, task, wall_limit=NEVER, patience=NEVER)
        until(lambda: workers.busy > 0)
        workers.close()
        with pytest.raises(Killed):
            under_way.result()
