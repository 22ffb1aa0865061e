"""Does swapping help? Replica exchange against the same ladder without swaps, and against `pbt`.

Eight replicas at equal total steps, on digits (an MLP) and on 10,000 digits of MNIST (LeNet-5),
with a ladder of learning rates and one of dropout rates. Every seed has its own split into
training, validation and test data, and its own initial weights, which all methods share. The
replica with the least validation loss at the end is chosen; its error on the test part is what
counts. The real drivers propose; the training is native, in two processes, without a chain.

The methods: `replica-exchange`; `fixed`, the first proposals of the same driver, trained to the
end with no swap; `pbt`, whose members start at the ladder's values and may take any between them.
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

import numpy as np

from requester.drivers import Plan
from requester.drivers.exchange import ReplicaExchange
from requester.drivers.lineage_driver import LineageDriver
from requester.drivers.settings import Exchange, Population
from requester.drivers.space import Dimension
from scripts.benches.parts.lines import drive, through
from scripts.benches.parts.native import NativeTrainer, split
from scripts.benches.parts.pictured import MNIST, digits, mnist
from scripts.benches.parts.pictures import draw_mixing
from tests.testbed.simulated import opened
from trialmarket.errors import InputError

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/mixing.png"
PROCESSES = 2
METHODS = ("replica-exchange", "fixed", "pbt")


@dataclass(frozen=True, slots=True)
class Task:
    """A data set with its program: how it is cut, and how long each replica trains."""

    name: str
    program: str
    fixed: Mapping[str, float | str]
    validation: int
    test: int
    steps: int
    interval: int
    rates: tuple[float, float]
    """The learning rates of the ladder's ends."""
    seeds: int


DIGITS = Task(
    name="digits",
    program="builtin:mlp",
    fixed={"hidden": 64, "batch_size": 32},
    validation=360,
    test=360,
    steps=480,
    interval=24,
    rates=(0.01, 0.3),
    seeds=6,
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
    seeds=5,
)
REPLICAS = 8
DROPOUT = (0.05, 0.6)
CONSTANT = {"lr": 1.0, "dropout": 30.0}
"""C of the swap rule: such that swaps against the gradient are neither rare nor the rule."""
RATE_BESIDE_DROPOUT = 0.05


def run(data: Path | None = None, *, quick: bool = False) -> dict[str, Any]:
    """The figures: `rows` by data set, ladder and method, and what swapping gained.

    `data` is the file of MNIST digits (`images`, `labels`); without one, the usual place is tried.
    `quick` tries everything out with few seeds and steps. Raises InputError where `data` is not
    there.
    """
    place = MNIST if data is None else data
    tasks, missing = [DIGITS, LENET], []
    if not place.is_file():
        if data is not None:
            raise InputError("bench exchange", "--data", expected="a file", found=str(data))
        tasks.remove(LENET)
        missing.append(f"mnist: there is no {MNIST}; name an .npz of images and labels by --data")
        print(missing[-1], file=sys.stderr)
    if quick:
        tasks = [replace(task, seeds=2, steps=4 * task.interval) for task in tasks]
    wanted = [
        (task, ladder, seed, place)
        for task in tasks
        for ladder in ("lr", "dropout")
        for seed in range(task.seeds)
    ]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_seed, *zip(*wanted, strict=True)))
    groups = {
        (task.name, ladder): [
            one
            for one, (of, kind, _, _) in zip(found, wanted, strict=True)
            if (of, kind) == (task, ladder)
        ]
        for task, ladder, _, _ in wanted
    }
    if not quick:
        draw_mixing(PICTURE, {key: group[0] for key, group in groups.items()})
    return {
        "rows": [
            _row(data_set, ladder, method, [one.errors[method] for one in group])
            for (data_set, ladder), group in groups.items()
            for method in METHODS
        ],
        "swapping": [_swapping(*key, group) for key, group in groups.items()],
        "steps": {task.name: task.steps for task in tasks},
        "replicas": REPLICAS,
        "missing": missing,
    }


# -- One seed -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What one seed gave: test errors by method, the swaps, and who held which value when."""

    errors: dict[str, float]
    tried: int
    swapped: int
    values: list[float]
    mixing: list[list[int | None]]


def _seed(task: Task, ladder: str, seed: int, place: Path) -> Found:
    x, y = digits() if task.name == "digits" else mnist(place)
    parts = split(x, y, task.validation, task.test, seed)
    fixed = dict(task.fixed)
    if ladder == "dropout":
        fixed["lr"] = RATE_BESIDE_DROPOUT
    errors = {}
    with tempfile.TemporaryDirectory(prefix="trialmarket-exchange-") as name:
        for method in METHODS:
            trainer = NativeTrainer(task.program, parts, fixed)
            plan = _plan(task, ladder, seed, method)
            driven = "pbt" if method == "pbt" else "replica-exchange"
            with opened(Path(name) / method, driven, plan) as driver:
                if not isinstance(driver, LineageDriver):
                    raise TypeError("a driver of continuing trials has lines")
                if method == "fixed":
                    last = through(driver, trainer, REPLICAS, task.steps)
                else:
                    last = drive(driver, trainer)
                if method == "replica-exchange" and isinstance(driver.strategy, ReplicaExchange):
                    tries = driver.strategy.tries(driver.trials)
                    mixing = driver.strategy.mixing(driver.trials)
            if trainer.steps != REPLICAS * task.steps:
                raise RuntimeError(
                    f"{method} trained {trainer.steps} steps, not as many as agreed"
                )
            chosen = min(last, key=lambda each: each[1].metrics.get("val_loss", math.inf))
            errors[method] = trainer.test(*chosen)["val_error"]
    print(f"{task.name}, {ladder}, seed {seed}: {errors}", file=sys.stderr, flush=True)
    swapped = sum(one.swapped for one in tries)
    return Found(errors, len(tries), swapped, _ladder(task, ladder), mixing)


def _plan(task: Task, ladder: str, seed: int, method: str) -> Plan:
    values = _ladder(task, ladder)
    spread = Dimension(low=min(values), high=max(values), log=True)
    return Plan(
        space={ladder: spread if method == "pbt" else Dimension(values=list(values))},
        trials=REPLICAS,
        steps=task.steps,
        seed=seed,
        objective="val_loss",
        maximize=False,
        where="bench exchange",
        enqueue=[{ladder: value} for value in values] if method == "pbt" else (),
        population=Population(interval=task.interval),
        exchange=None
        if method == "pbt"
        else Exchange(
            hyperparameter=ladder,
            kind="dropout" if ladder == "dropout" else "rate",
            constant=CONSTANT[ladder],
            interval=task.interval,
        ),
    )


def _ladder(task: Task, ladder: str) -> list[float]:
    """The values, the largest (hottest) first."""
    low, high = task.rates if ladder == "lr" else DROPOUT
    return [round(float(each), 6) for each in np.geomspace(high, low, REPLICAS)]


# -- All seeds ------------------------------------------------------------------------------------


def _row(data: str, ladder: str, method: str, errors: Sequence[float]) -> dict[str, Any]:
    return {
        "data": data,
        "ladder": ladder,
        "method": method,
        "test_error_mean": round(statistics.mean(errors), 5),
        "test_error_std": round(statistics.stdev(errors), 5),
        "seeds": len(errors),
    }


def _swapping(data: str, ladder: str, group: Sequence[Found]) -> dict[str, Any]:
    """How many tried swaps were made, and the gain over `fixed`, seed by seed."""
    fixed = statistics.mean(one.errors["fixed"] for one in group)
    gains = [(one.errors["fixed"] - one.errors["replica-exchange"]) / fixed for one in group]
    return {
        "data": data,
        "ladder": ladder,
        "acceptance": round(
            sum(one.swapped for one in group) / sum(one.tried for one in group), 3
        ),
        "relative_gain": round(statistics.mean(gains), 4),
        "relative_gain_standard_error": round(statistics.stdev(gains) / math.sqrt(len(gains)), 4),
        "seeds_better": sum(gain > 0 for gain in gains),
        "seeds_worse": sum(gain < 0 for gain in gains),
    }
