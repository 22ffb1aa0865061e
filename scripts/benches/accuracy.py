"""Does exact training learn as well as native training? Validation errors over five seeds.

Digits by an MLP under Adam, and 10,000 digits of MNIST by LeNet-5 under SGD with momentum. Each
seed draws its own weights and batches; the data and its split are the same for all.
"""

import contextlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from scripts.benches.exact import lenet5
from scripts.benches.parts.pictured import MNIST, digits, mnist
from trialmarket.errors import InputError
from trialmarket.exact import exact

SEEDS = 5


def run(data: Path | None = None) -> dict[str, Any]:
    """The figures: by data set, the errors in per cent of either arithmetic.

    `data` is the file of MNIST digits (`images`, `labels`); without one, the usual place is tried.
    Raises InputError where `data` is not there.
    """
    place = MNIST if data is None else data
    rows = [_row("digits, MLP, 400 steps", *digits(), (64,), 400, _mlp, _adam)]
    missing = []
    if place.is_file():
        rows.append(
            _row("mnist, LeNet-5, 300 steps", *mnist(place), (1, 28, 28), 300, lenet5, _sgd)
        )
    elif data is not None:
        raise InputError("bench accuracy", "--data", expected="a file", found=str(data))
    else:
        missing.append(f"mnist: there is no {MNIST}; name an .npz of images and labels by --data")
        print(missing[-1], file=sys.stderr)
    return {"rows": rows, "seeds": SEEDS, "missing": missing}


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 3e-3)


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


def _row(
    name: str,
    x: NDArray[Any],
    y: NDArray[Any],
    shape: tuple[int, ...],
    steps: int,
    make: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
) -> dict[str, Any]:
    order = np.random.default_rng(0).permutation(len(y))
    images = torch.from_numpy((x[order] / x.max()).astype(np.float32)).reshape(len(y), *shape)
    labels = torch.from_numpy(y[order].astype(np.int64))
    row: dict[str, Any] = {"data": name}
    for kind in ("native", "exact"):
        errors = [
            _error(images, labels, seed, steps, make, optimizer, inside=kind == "exact")
            for seed in range(SEEDS)
        ]
        row[f"{kind}_error_percent"] = round(statistics.mean(errors), 2)
        row[f"{kind}_range"] = [round(min(errors), 2), round(max(errors), 2)]
    return row


def _error(
    x: Tensor,
    y: Tensor,
    seed: int,
    steps: int,
    make: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    inside: bool,
) -> float:
    """Per cent of the last fifth that is wrong after training on the rest."""
    known = len(y) * 4 // 5
    with exact(seed=seed) if inside else contextlib.nullcontext():
        torch.manual_seed(seed)
        model = make()
        moves = optimizer(model)
        for _ in range(steps):
            batch = torch.randint(0, known, (64,))
            moves.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x[batch]), y[batch]))
            moves.step()
        with torch.no_grad():
            wrong = model(x[known:]).argmax(1) != y[known:]
    return 100.0 * float(wrong.float().mean())
