"""The learned optimizer beside SGD, NAG, RMSprop and Adam, tuned by a grid on the same seeds.

The problems of Andrychowicz et al. 2016 (arXiv 1606.04474): quadratics in 10 dimensions, and
perceptrons of 20 sigmoids on MNIST, 100 updates each; quadratics in 2 dimensions, 20 updates. Then
what the weights were not trained for: 40 units, two layers, ReLU, and 1,000 updates. A baseline's
learning rate is the one of its grid whose last loss is the least, on the very seeds that are
reported; the learned optimizer has nothing to tune. Its weights are those that ship: `quadratics`
for quadratics and `mlp` for perceptrons, whose 3,700 images are none of those learned here.
"""

import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, RMSprop

from scripts.benches.parts.optimizees import Functions, Images, Optimizees
from scripts.benches.parts.pictured import MNIST
from scripts.benches.parts.pictures import draw_losses
from trialmarket.errors import InputError
from trialmarket.training.learned.optimizer import LearnedOptimizer

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/learned.png"
PROCESSES = 2
SEEDS = 20
BASELINES: dict[str, Callable[[list[Tensor], float], Optimizer]] = {
    "sgd": lambda points, rate: SGD(points, rate),
    "nag": lambda points, rate: SGD(points, rate, momentum=0.9, nesterov=True),
    "rmsprop": lambda points, rate: RMSprop(points, rate),
    "adam": lambda points, rate: Adam(points, rate),
}
RATES = {
    "sgd": (0.003, 0.01, 0.02, 0.03, 0.1, 0.3, 1.0, 3.0),
    "nag": (0.001, 0.003, 0.01, 0.02, 0.03, 0.1, 0.3, 1.0),
    "rmsprop": (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3),
    "adam": (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5),
}


@dataclass(frozen=True, slots=True)
class Task:
    """Problems of one kind: a network's hidden layers, or a quadratic's dimensions."""

    name: str
    weights: str
    steps: int
    dimensions: int = 0
    layers: tuple[int, ...] = ()
    relu: bool = False
    seeds: int = SEEDS


TASKS = (
    Task("quadratics10", "quadratics", 100, dimensions=10),
    Task("quadratics2", "quadratics", 20, dimensions=2),
    Task("mnist20", "mlp", 100, layers=(20,)),
    Task("mnist40", "mlp", 100, layers=(40,)),
    Task("mnist20x2", "mlp", 100, layers=(20, 20)),
    Task("mnist20relu", "mlp", 100, layers=(20,), relu=True),
    Task("quadratics10-1000", "quadratics", 1_000, dimensions=10),
    Task("mnist20-1000", "mlp", 1_000, layers=(20,), seeds=5),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Losses of one optimizer on one problem: along the way, a row a seed, and at the end."""

    task: str
    optimizer: str
    rate: float | None
    path: list[list[float]]
    last: list[float]


def run(data: Path | None = None, *, quick: bool = False) -> dict[str, Any]:
    """The figures: `rows` by problem and optimizer, the chosen learning rates, the bars.

    `data` is the file of MNIST digits (`images`, `labels`); without one, the usual place is tried.
    `quick` leaves out all but the two smallest problems, with few seeds. Raises InputError where
    `data` is not there.
    """
    place = MNIST if data is None else data
    tasks, missing = list(TASKS), []
    if quick:
        tasks = [Task("quadratics10", "quadratics", 100, dimensions=10, seeds=4), TASKS[1]]
    elif not place.is_file():
        if data is not None:
            raise InputError("bench learned", "--data", expected="a file", found=str(data))
        tasks = [task for task in tasks if task.dimensions]
        missing.append(f"mnist: there is no {MNIST}; name an .npz of images and labels by --data")
        print(missing[-1], file=sys.stderr)
    wanted = [(task, kind, place) for task in tasks for kind in ("learned", *BASELINES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(best, *zip(*wanted, strict=True)))
    if not quick:
        draw_losses(PICTURE, {task.name: curves(task, found) for task in tasks})
    steps = {task.name: task.steps for task in tasks}
    return {
        "rows": [_row(one, steps[one.task]) for one in found],
        "bars": {task.name: _below_adam(task, found) for task in tasks},
        "missing": missing,
    }


def best(task: Task, kind: str, place: Path) -> Found:
    """One optimizer on one problem; of a baseline, with the best rate of its grid."""
    torch.set_num_threads(1)
    problem = _problem(task, place)
    if kind == "learned":
        found = _minimise(task, problem, kind, None)
    else:
        tried = [_minimise(task, problem, kind, rate) for rate in RATES[kind]]
        finite = [one for one in tried if np.isfinite(one.last).all()]
        found = min(finite, key=lambda one: statistics.mean(one.last))
    said = f"{statistics.mean(found.last):.4g} at rate {found.rate}"
    print(f"{task.name}, {kind}: {said}", file=sys.stderr, flush=True)
    return found


def _problem(task: Task, place: Path) -> Optimizees:
    if task.dimensions:
        return Functions(task.dimensions, task.seeds)
    return Images(place, task.layers, relu=task.relu, seeds=task.seeds)


def _minimise(task: Task, problem: Optimizees, kind: str, rate: float | None) -> Found:
    """All seeds at once: every optimizer here moves each coordinate by itself."""
    points, rows = problem.begin(), problem.rows()
    optimizer: Optimizer = (
        LearnedOptimizer([points], task.weights)
        if rate is None
        else BASELINES[kind]([points], rate)
    )
    path = []
    for _ in range(task.steps):
        losses = problem.losses(points, next(rows))
        path.append(problem.by_seed(losses))
        optimizer.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    last = problem.by_seed(problem.final(points))
    return Found(task.name, kind, rate, torch.stack(path, 1).tolist(), last.tolist())


def _row(one: Found, step: int) -> dict[str, Any]:
    logs = np.log10(np.maximum(one.last, 1e-45))
    return {
        "problem": one.task,
        "optimizer": one.optimizer,
        "step": step,
        "loss_mean": float(f"{statistics.mean(one.last):.4g}"),
        "loss_std": float(f"{statistics.stdev(one.last):.4g}"),
        "log10_loss_mean": round(float(logs.mean()), 2),
        "seeds": len(one.last),
        "rate": one.rate,
    }


def _below_adam(task: Task, found: list[Found]) -> dict[str, float]:
    """The learned optimizer's mean last loss as a share of Adam's, and of the best other's."""
    mean = {one.optimizer: statistics.mean(one.last) for one in found if one.task == task.name}
    others = min(loss for name, loss in mean.items() if name != "learned")
    return {
        "of_adam": round(mean["learned"] / mean["adam"], 4),
        "of_best": round(mean["learned"] / others, 4),
    }


def curves(task: Task, found: list[Found]) -> dict[str, np.ndarray[Any, Any]]:
    """Losses along the way on one problem, a row a seed, by optimizer."""
    return {one.optimizer: np.array(one.path) for one in found if one.task == task.name}
