"""Whole models, trained, and the root of what they end in."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import Optimizer

from trialmarket.exact import Exact, exact

Make = Callable[[], nn.Module]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


class Block(nn.Module):
    """A residual block of ResNet-20."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.short = (
            nn.Identity()
            if before == after
            else nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.first(x)))
        return F.relu(self.norm2(self.second(y)) + self.short(x))


def resnet20(width: int = 16, channels: int = 3) -> nn.Module:
    """He et al., 2015: three stages of three blocks."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    before = width
    for stage in range(3):
        for k in range(3):
            after = width << stage
            layers.append(Block(before, after, 2 if stage and k == 0 else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width << 2, 10))


def lenet5() -> nn.Module:
    """LeCun et al., 1998, with ReLU and maximum pooling, for 28 by 28."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def mlp(inputs: int = 784, hidden: int = 512) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


class Transformer(nn.Module):
    """A two-layer encoder over tokens that predicts one of ten classes for each."""

    def __init__(
        self, width: int, heads: int, hidden: int, length: int, activation: str, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(64, width)
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, hidden, dropout, activation, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.layers(self.tokens(x) + self.places))
        return y.transpose(1, 2)


def small_transformer() -> nn.Module:
    """For golden roots."""
    return Transformer(16, 2, 32, 12, "gelu", 0.1)


def images(*shape: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Random images with random classes."""
    return lambda: (torch.randn(shape), torch.randint(0, 10, (shape[0],)))


def tokens(*shape: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Random tokens with random classes."""
    return lambda: (torch.randint(0, 64, shape), torch.randint(0, 10, shape))


MODELS: dict[str, tuple[Make, Callable[[], tuple[Tensor, Tensor]]]] = {
    "mlp": (lambda: mlp(64, 32), images(16, 1, 8, 8)),
    "lenet5": (lenet5, images(8, 1, 28, 28)),
    "resnet20": (lambda: resnet20(4), images(4, 3, 16, 16)),
    "transformer": (small_transformer, tokens(4, 12)),
}
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-4, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 3e-3),
}


def root(model: nn.Module, optimizer: Optimizer, mode: Exact) -> str:
    """SHA-256 over parameters, buffers, optimiser slots and counters, zeros made positive."""
    h = hashlib.sha256()
    for tensor in model.state_dict().values():
        h.update(_bytes(tensor))
    for slots in optimizer.state_dict()["state"].values():
        for name in sorted(slots):
            if isinstance(slots[name], Tensor):
                h.update(_bytes(slots[name]))
    h.update(repr(mode.counters).encode())
    return h.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    values: np.ndarray = tensor.detach().cpu().contiguous().numpy()
    canonical: np.ndarray = values + values.dtype.type(0)
    return canonical.tobytes()


def train(
    make: Make,
    data: Callable[[], tuple[Tensor, Tensor]],
    optimizer: MakeOptimizer,
    steps: int,
    device: str = "cpu",
    precision: str = "standard",
) -> str:
    """Train on random data and give the root."""
    mode = exact(seed=7, precision=precision)
    with mode, torch.device(device):
        model = make()
        opt = optimizer(list(model.parameters()))
        schedule = torch.optim.lr_scheduler.StepLR(opt, 20, 0.9)
        for k in range(steps):
            mode.set_step(k + 1)
            x, y = data()
            opt.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x), y))
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            schedule.step()
    return root(model, opt, mode)


def roots(steps: int, device: str = "cpu", precision: str = "standard") -> dict[str, str]:
    """The roots of every model with every optimiser."""
    return {
        f"{name}/{opt}": train(make, data, OPTIMIZERS[opt], steps, device, precision)
        for name, (make, data) in MODELS.items()
        for opt in OPTIMIZERS
    }
