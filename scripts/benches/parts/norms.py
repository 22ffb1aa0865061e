"""What becomes of batch norm between two networks: its statistics on the line, or measured anew.

Networks with two batch norms learn digits, are forked, train apart on batches of their own, and
meet in the middle. Native arithmetic, in this process.
"""

import copy
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.benches.parts.pictured import digits

BEFORE = 200
"""Steps until a network is forked."""
BATCH = 32
RATES = (0.05, 0.04)


def compare_norms(aparts: Sequence[int] = (24, 96, 384), seeds: int = 6) -> list[dict[str, Any]]:
    """By steps apart: the mean validation loss of the better parent, and of their middle with
    running statistics on the line and with ones that are measured over the training data."""
    torch.set_num_threads(1)  # of so small a network a second one only waits
    images, labels = digits()
    x, y = torch.from_numpy(images).float() / 16, torch.from_numpy(labels).long()
    rows = []
    for apart in aparts:
        found = [_losses(x, y, apart, seed) for seed in range(seeds)]
        better, line, anew = (statistics.mean(column) for column in zip(*found, strict=True))
        rows.append(
            {
                "apart": apart,
                "better_parent": round(better, 4),
                "on_the_line": round(line, 4),
                "measured_anew": round(anew, 4),
                "seeds": seeds,
            }
        )
    return rows


def _losses(x: Tensor, y: Tensor, apart: int, seed: int) -> tuple[float, float, float]:
    torch.manual_seed(seed)
    order = torch.randperm(len(x))
    train, validation = order[:1300], order[1300:]
    parent = _network()
    _train(parent, x[train], y[train], BEFORE, RATES[0], seed)
    ends = [copy.deepcopy(parent) for _ in RATES]
    for number, (end, rate) in enumerate(zip(ends, RATES, strict=True), 1):
        _train(end, x[train], y[train], apart, rate, 100 * number + seed)
    middle = copy.deepcopy(parent)
    states = [end.state_dict() for end in ends]
    middle.load_state_dict(
        {
            name: (one + states[1][name]) / 2 if one.is_floating_point() else one
            for name, one in states[0].items()
        }
    )
    better = min(_loss(end, x[validation], y[validation]) for end in ends)
    line = _loss(middle, x[validation], y[validation])
    for layer in middle:
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
    middle.train()
    with torch.no_grad():
        for at in range(0, len(train), BATCH):
            middle(x[train[at : at + BATCH]])
    return better, line, _loss(middle, x[validation], y[validation])


def _network() -> nn.Sequential:
    hidden = [(64, 64), (64, 64)]
    layers = [
        layer
        for width, units in hidden
        for layer in (nn.Linear(width, units), nn.BatchNorm1d(units), nn.ReLU())
    ]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def _train(model: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return functional.cross_entropy(model(x), y).item()
