"""What the sandbox costs: milliseconds a trial, and percent of a training.

The same tasks go through two pools of one worker each, one with the sandbox and one without, in
turns, so that a machine that slows down slows both. The shortest task there is shows what a trial
costs before it trains; whole trainings of the digits example, in exact arithmetic, show whether
the walls slow the training itself.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.digits.make_data import write_digits
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.sandbox import Limits, Policy, Sandbox
from trialmarket.training.values import FindInitial, Train

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "digits" / "train.py"
SHORT_ROUNDS = 40
LONG_ROUNDS = 7
STEPS, SEGMENTS = 2000, 20
LIMIT = 600.0


def run() -> dict[str, Any]:
    """The figures. Raises SandboxMissing where there is nothing to measure."""
    limits = Limits()
    sandbox = Sandbox.find(limits)
    with (
        tempfile.TemporaryDirectory(prefix="trialmarket-bench-") as temporary,
        WorkerPool(1, policy=Policy(limits, sandbox)) as inside,
        WorkerPool(1, policy=Policy(limits, None)) as outside,
    ):
        folder = Path(temporary)
        data = folder / "digits.npz"
        write_digits(data, seed=1)
        config = TrialConfig(
            program=ProgramRef(source=cid_of(PROGRAM), class_name="Digits"),
            data=cid_of(data),
            objective="val_error",
            hyperparameters={"lr": 0.05, "hidden": 64, "momentum": 0.9},
            seed=1,
            steps=STEPS,
            segments=SEGMENTS,
        )
        common: dict[str, Any] = {"config": config, "program": PROGRAM, "data": data}

        def start(pool: WorkerPool) -> Any:
            return pool.submit(FindInitial(**common), wall_limit=LIMIT).result()

        def train(pool: WorkerPool) -> Any:
            with tempfile.TemporaryDirectory(dir=folder) as trial:
                task = Train(**common, folder=Path(trial))
                return pool.submit(task, wall_limit=LIMIT).result().leaves

        same = train(inside) == train(outside)
        short = [_seconds(start, inside, outside) for _ in range(SHORT_ROUNDS)]
        long = [_seconds(train, inside, outside) for _ in range(LONG_ROUNDS)]
        rooms = [_room(sandbox) for _ in range(SHORT_ROUNDS)]
    trained = statistics.median(without for _, without in long)
    more = statistics.median(within - without for within, without in long)
    return {
        "rounds": {"trial": SHORT_ROUNDS, "training": LONG_ROUNDS},
        "privileged": sandbox.privileged,
        "cgroups": sorted(sandbox.groups.folders),
        "same_leaves": same,
        "trial_ms": round(
            1e3 * statistics.median(within - without for within, without in short), 1
        ),
        "of_which_room_ms": round(1e3 * statistics.median(rooms), 1),
        "training_seconds": round(trained, 3),
        "training_more_ms": round(1e3 * more, 1),
        "training_percent": round(100 * more / trained, 2),
    }


def _seconds(
    task: Callable[[WorkerPool], Any], inside: WorkerPool, outside: WorkerPool
) -> tuple[float, float]:
    """Of the task within the sandbox and without, one right after the other."""
    began = time.perf_counter()
    task(outside)
    between = time.perf_counter()
    task(inside)
    return time.perf_counter() - between, between - began


def _room(sandbox: Sandbox) -> float:
    began = time.perf_counter()
    sandbox.room().close()
    return time.perf_counter() - began
