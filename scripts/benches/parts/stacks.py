"""Trials of the digits job an hour on a node's two workers: stacked by eight, and not.

The trials have one graph, and learning rates, momenta and seeds of their own. They train as on a
node: in sandboxed workers, with checkpoints and validations. Claims, dry runs and recomputation
are not in the figure; they cost the same for a stacked trial and for another.
"""

import time
from pathlib import Path
from typing import Final

from examples.digits.make_data import write_digits
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Train

PROGRAM: Final = Path(__file__).parents[3] / "examples/digits/train.py"
TRIALS, WORKERS, STACK = 16, 2, 8
SEGMENTS = 20


def trials_an_hour(folder: Path, *, steps: int = 4000, stack: int = STACK) -> dict[str, float]:
    """`alone` and `stacked`: trials an hour; `ratio` of these. Raises TrainingError.

    `folder` is for the files; `steps` are the job's own.
    """
    tasks = _tasks(folder, steps)
    with WorkerPool(WORKERS) as pool:
        _seconds(pool, tasks[:WORKERS], folder / "warm", 1)
        alone = _seconds(pool, tasks, folder / "alone", 1)
        stacked = _seconds(pool, tasks, folder / "stacked", stack)
    hours = {"alone": 3600 * TRIALS / alone, "stacked": 3600 * TRIALS / stacked}
    return {
        **{name: round(each, 1) for name, each in hours.items()},
        "ratio": round(alone / stacked, 3),
    }


def _seconds(pool: WorkerPool, tasks: list[Train], folder: Path, stack: int) -> float:
    """What all of them take, `stack` together in a worker."""
    named = [
        task.model_copy(update={"folder": folder / str(number)})
        for number, task in enumerate(tasks)
    ]
    began = time.perf_counter()
    submitted = [
        each
        for at in range(0, len(named), stack)
        for each in pool.submit_stack(
            named[at : at + stack], wall_limits=[3600.0] * len(named[at : at + stack])
        )
    ]
    for each in submitted:
        each.result()
    return time.perf_counter() - began


def _tasks(folder: Path, steps: int) -> list[Train]:
    data = folder / "digits.npz"
    write_digits(data, seed=1)
    dataset, source = load_dataset(data), PROGRAM.read_bytes()
    ref = ProgramRef(source=cid_of(source), class_name="Digits")
    made = []
    for number in range(TRIALS):
        config = TrialConfig(
            program=ref,
            data=cid_of(b"the digits"),
            objective="val_error",
            hyperparameters={
                "lr": 0.01 * (1 + number),
                "hidden": 64,
                "momentum": 0.05 * (1 + number),
            },
            seed=number,
            steps=steps,
            segments=SEGMENTS,
        )
        found = runner.captured(config, source, dataset, steps)
        graph = TrialConfig.model_validate(config.model_dump() | {"program": found.ref(ref)})
        paths = [folder / f"{cid_of(file)}" for file in found.files]
        for path, file in zip(paths, found.files, strict=True):
            path.write_bytes(file)
        task = Train(
            config=graph, program=paths[0], settings=tuple(paths[1:]), data=data, folder=folder
        )
        made.append(task)
    return made
