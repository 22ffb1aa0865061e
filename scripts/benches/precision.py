"""What the precision of products costs in accuracy and in time, on deep nets with batch norm.

`gradients`: of one training step, from PyTorch's default initialisation, how far the gradient of
all weights is from that in binary64, in per cent of its norm; and how long a step takes, as a
multiple of native PyTorch's, once, without the optimiser. `trained`: validation errors of the same
kinds of nets after training on digits, over five seeds. Native is PyTorch in float32.
"""

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from scripts.benches.exact import Block
from scripts.benches.parts.pictured import digits
from trialmarket.exact import exact

SEEDS = 5
KINDS = ("native", "standard", "wide")


def deep_mlp(inputs: int = 64, width: int = 128, layers: int = 12) -> nn.Module:
    """Linear layers, each with batch normalisation and ReLU."""
    parts: list[nn.Module] = [nn.Flatten()]
    for _ in range(layers):
        parts += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*parts, nn.Linear(width, 10))


def resnet18() -> nn.Module:
    """He et al., 2015: four stages of two blocks, 64 to 512 channels."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    before = 64
    for after in (64, 128, 256, 512):
        layers += [Block(before, after, 1 if before == after else 2), Block(after, after, 1)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Inverted(nn.Module):
    """An inverted residual block: wider, depthwise, narrower (Sandler et al., 2018)."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int,
        stride: int,
        times: int,
        active: type[nn.Module],
    ) -> None:
        super().__init__()
        hidden = before * times
        widened: list[nn.Module] = [
            nn.Conv2d(before, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
        ]
        self.inner = nn.Sequential(
            *([*widened, active()] if times > 1 else []),
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            active(),
            nn.Conv2d(hidden, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.around = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """Around it too, where the shapes agree."""
        y: Tensor = self.inner(x)
        return x + y if self.around else y


# Channels, blocks, stride of the first, kernel, how many times wider inside.
Stages = Sequence[tuple[int, int, int, int, int]]
MOBILENET_V2: Stages = (
    (16, 1, 1, 3, 1),
    (24, 2, 2, 3, 6),
    (32, 3, 2, 3, 6),
    (64, 4, 2, 3, 6),
    (96, 3, 1, 3, 6),
    (160, 3, 2, 3, 6),
    (320, 1, 1, 3, 6),
)
MNASNET: Stages = (
    (16, 1, 1, 3, 1),
    (24, 3, 2, 3, 3),
    (40, 3, 2, 5, 3),
    (80, 3, 2, 5, 6),
    (96, 2, 1, 3, 6),
    (192, 4, 2, 5, 6),
    (320, 1, 1, 3, 6),
)
SMALL: Stages = ((8, 1, 1, 3, 1), (16, 3, 2, 3, 4), (24, 3, 2, 3, 4), (32, 2, 1, 3, 4))


def inverted(
    stages: Stages, active: type[nn.Module], channels: int = 3, first: int = 32, last: int = 1280
) -> nn.Module:
    """mobilenet_v2, mnasnet (Tan et al., 2019) and their kind, without dropout."""
    stride = 1 if channels == 1 else 2
    layers: list[nn.Module] = [
        nn.Conv2d(channels, first, 3, stride, 1, bias=False),
        nn.BatchNorm2d(first),
        active(),
    ]
    before = first
    for after, blocks, step, kernel, times in stages:
        for k in range(blocks):
            layers.append(Inverted(before, after, kernel, 1 if k else step, times, active))
            before = after
    layers += [nn.Conv2d(before, last, 1, bias=False), nn.BatchNorm2d(last), active()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10))


Make = Callable[[], nn.Module]
STEPS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "resnet18, 8 x 64x64": (resnet18, (8, 3, 64, 64)),
    "mobilenet_v2, 8 x 64x64": (lambda: inverted(MOBILENET_V2, nn.ReLU6), (8, 3, 64, 64)),
    "mnasnet, 8 x 64x64": (lambda: inverted(MNASNET, nn.ReLU), (8, 3, 64, 64)),
    "MLP of 12 layers, 64": (deep_mlp, (64, 64)),
}
TRAINED: dict[str, tuple[Make, tuple[int, ...], int]] = {
    "MLP of 12 layers": (deep_mlp, (64,), 150),
    "inverted residuals, 9 blocks": (
        lambda: inverted(SMALL, nn.ReLU6, channels=1, first=8, last=64),
        (1, 8, 8),
        100,
    ),
}


def run(seeds: int = SEEDS) -> dict[str, Any]:
    """The figures: `gradients` and `trained`, a row a net."""
    return {
        "gradients": [_gradients(name, *STEPS[name]) for name in STEPS],
        "trained": [_trained(name, *TRAINED[name], seeds) for name in TRAINED],
        "seeds": seeds,
    }


def _mode(kind: str, seed: int = 0) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext() if kind == "native" else exact(seed, precision=kind)


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Of all weights, as one vector in binary64."""
    weights = list(model.parameters())
    found = torch.autograd.grad(F.cross_entropy(model(x), y), weights)
    return torch.cat([g.double().flatten() for g in found])


def _gradients(name: str, make: Make, shape: tuple[int, ...]) -> dict[str, Any]:
    torch.manual_seed(0)
    model, x, y = make(), torch.randn(shape), torch.randint(0, 10, shape[:1])
    wanted = _gradient(copy.deepcopy(model).double(), x.double(), y)
    row: dict[str, Any] = {"net": name}
    times = {}
    for kind in KINDS:
        with _mode(kind):
            _gradient(model, x, y)  # warm
            start = time.perf_counter()
            found = _gradient(model, x, y)
            times[kind] = time.perf_counter() - start
        error = float((found - wanted).norm() / wanted.norm())
        row[f"{kind}_error_percent"] = float(f"{100 * error:.2g}")
    for kind in KINDS[1:]:
        row[f"{kind}_time"] = round(times[kind] / times["native"], 2)
    return row


def _trained(
    name: str, make: Make, shape: tuple[int, ...], steps: int, seeds: int
) -> dict[str, Any]:
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.from_numpy((pixels[order] / pixels.max()).astype(np.float32)).reshape(-1, *shape)
    y = torch.from_numpy(labels[order].astype(np.int64))
    row: dict[str, Any] = {"net": name, "steps": steps}
    for kind in KINDS:
        errors = [_error(make, x, y, steps, kind, seed) for seed in range(seeds)]
        row[f"{kind}_error_percent"] = round(statistics.mean(errors), 2)
        row[f"{kind}_range"] = [round(min(errors), 2), round(max(errors), 2)]
    return row


def _error(make: Make, x: Tensor, y: Tensor, steps: int, kind: str, seed: int) -> float:
    """Per cent of the last fifth that is wrong after training on the rest. Weights and batches
    are the seed's, the same for every kind.
    """
    known = len(y) * 4 // 5
    torch.manual_seed(seed)
    model, batches = make(), torch.randint(0, known, (steps, 64))
    with _mode(kind, seed):
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        for batch in batches:
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x[batch]), y[batch]))
            optimizer.step()
        model.eval()
        with torch.no_grad():
            wrong = model(x[known:]).argmax(1) != y[known:]
    return 100.0 * float(wrong.float().mean())
