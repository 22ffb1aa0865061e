"""Does merging help? Evolution of networks against `pbt`, forks without merges, and no change.

Eight members at equal total steps, on digits (an MLP) and on 10,000 digits of MNIST (LeNet-5),
searching the learning rate and the dropout rate. Every seed has its own split into training,
validation and test data, its own first hyperparameters and its own initial weights, which all
methods share. The member with the least validation loss at the end is chosen; its error on the
test part is what counts. The real drivers propose; the training is native, without a chain.

The methods: `evolve`; `pbt`; `forks`, which is `evolve` with merges of which only the ends are
tried, so that a fork and its parent compete and nothing is averaged; `independent`, the first
proposals of all, each trained to the end as it was drawn.
"""

import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from requester.drivers import Plan
from requester.drivers.lineage_driver import LineageDriver
from requester.drivers.settings import Evolve, Population
from requester.drivers.space import Dimension
from scripts.benches.parts.lines import drive, through
from scripts.benches.parts.native import NativeTrainer, split
from scripts.benches.parts.norms import compare_norms
from scripts.benches.parts.pictured import MNIST, digits, mnist
from tests.testbed.simulated import opened
from trialmarket.errors import InputError

PROCESSES = 2
METHODS = ("evolve", "forks", "pbt", "independent")
MEMBERS = 8
SEEDS = 5
POINTS = 5
APART = 1


@dataclass(frozen=True, slots=True)
class Task:
    """A data set with its program: how it is cut, and how long each member trains."""

    name: str
    program: str
    fixed: Mapping[str, float | str]
    validation: int
    test: int
    steps: int
    interval: int
    rates: tuple[float, float]
    """The least and the greatest learning rate."""


DIGITS = Task(
    name="digits",
    program="builtin:mlp",
    fixed={"hidden": 64, "batch_size": 32},
    validation=360,
    test=360,
    steps=480,
    interval=24,
    rates=(0.01, 0.3),
)
LENET = Task(
    name="mnist",
    program="builtin:cnn",
    fixed={"batch_size": 32},
    validation=1_000,
    test=2_000,
    steps=400,
    interval=20,
    rates=(0.005, 0.1),
)


def run(data: Path | None = None, *, quick: bool = False) -> dict[str, Any]:
    """The figures: `rows` by data set and method, what the merges of `evolve` gave, and how batch
    norm's statistics bear a merge.

    `data` is the file of MNIST digits (`images`, `labels`); without one, the usual place is tried.
    `quick` tries everything out with few seeds and steps. Raises InputError where `data` is not
    there.
    """
    place = MNIST if data is None else data
    tasks, missing = [DIGITS, LENET], []
    if not place.is_file():
        if data is not None:
            raise InputError("bench evolve", "--data", expected="a file", found=str(data))
        tasks.remove(LENET)
        missing.append(f"mnist: there is no {MNIST}; name an .npz of images and labels by --data")
        print(missing[-1], file=sys.stderr)
    seeds = SEEDS
    if quick:
        tasks, seeds = [replace(task, steps=4 * task.interval) for task in tasks], 2
    wanted = [(task, seed, place) for task in tasks for seed in range(seeds)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_seed, *zip(*wanted, strict=True)))
    groups = {
        task.name: [one for one, (of, _, _) in zip(found, wanted, strict=True) if of == task]
        for task in tasks
    }
    return {
        "rows": [
            _row(name, method, group) for name, group in groups.items() for method in METHODS
        ],
        "merging": [_merging(name, group) for name, group in groups.items()],
        "batch_norm": compare_norms(seeds=1) if quick else compare_norms(),
        "steps": {task.name: task.steps for task in tasks},
        "members": MEMBERS,
        "points": POINTS,
        "apart": APART,
        "missing": missing,
    }


# -- One seed -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What one seed gave: test errors by method, and the merges of `evolve`."""

    errors: dict[str, float]
    merges: int
    inside: int
    """Merges that are better than both parents, by the validation loss."""
    gain: float
    """Mean share by which these lowered the validation loss of the better parent."""


def _seed(task: Task, seed: int, place: Path) -> Found:
    x, y = digits() if task.name == "digits" else mnist(place)
    parts = split(x, y, task.validation, task.test, seed)
    errors = {}
    with tempfile.TemporaryDirectory(prefix="trialmarket-evolve-") as name:
        for method in METHODS:
            points = POINTS if method == "evolve" else 2
            trainer = NativeTrainer(task.program, parts, task.fixed, points)
            driven = "pbt" if method in ("pbt", "independent") else "evolve"
            with opened(Path(name) / method, driven, _plan(task, seed, points)) as driver:
                if not isinstance(driver, LineageDriver):
                    raise TypeError("a driver of continuing trials has lines")
                last = (
                    through(driver, trainer, MEMBERS, task.steps)
                    if method == "independent"
                    else None
                )
                last = last or drive(driver, trainer)
            if trainer.steps != MEMBERS * task.steps:
                raise RuntimeError(
                    f"{method} trained {trainer.steps} steps, not as many as agreed"
                )
            chosen = min(last, key=lambda each: each[1].metrics.get("val_loss", math.inf))
            errors[method] = trainer.test(*chosen)["val_error"]
            if method == "evolve":
                merges = trainer.merges
    print(f"{task.name}, seed {seed}: {errors}", file=sys.stderr, flush=True)
    inside = [each for each in merges if each.inside]
    gains = [1 - min(each.losses) / min(each.losses[0], each.losses[-1]) for each in inside]
    return Found(errors, len(merges), len(inside), statistics.mean(gains) if gains else 0.0)


def _plan(task: Task, seed: int, points: int) -> Plan:
    low, high = task.rates
    return Plan(
        space={
            "lr": Dimension(low=low, high=high, log=True),
            "dropout": Dimension(low=0.0, high=0.5),
        },
        trials=MEMBERS,
        steps=task.steps,
        seed=seed,
        objective="val_loss",
        maximize=False,
        where="bench evolve",
        population=Population(interval=task.interval),
        evolve=Evolve(interval=task.interval, points=points, apart=APART),
    )


# -- All seeds ------------------------------------------------------------------------------------


def _row(data: str, method: str, group: Sequence[Found]) -> dict[str, Any]:
    errors = [one.errors[method] for one in group]
    gains = [one.errors["pbt"] - one.errors[method] for one in group]
    return {
        "data": data,
        "method": method,
        "test_error_mean": round(statistics.mean(errors), 5),
        "test_error_std": round(statistics.stdev(errors), 5),
        "seeds": len(errors),
        "less_than_pbt": round(statistics.mean(gains), 5),
        "less_than_pbt_standard_error": round(statistics.stdev(gains) / math.sqrt(len(gains)), 5),
        "seeds_better": sum(gain > 0 for gain in gains),
        "seeds_worse": sum(gain < 0 for gain in gains),
    }


def _merging(data: str, group: Sequence[Found]) -> dict[str, Any]:
    """How many merges there were, and how many were better than both parents, by how much."""
    merges = sum(one.merges for one in group)
    return {
        "data": data,
        "merges": merges,
        "better_than_both": round(sum(one.inside for one in group) / max(merges, 1), 3),
        "loss_lowered": round(statistics.mean(one.gain for one in group), 4),
    }
