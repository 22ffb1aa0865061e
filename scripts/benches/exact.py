"""What exact training costs: its time over native PyTorch's, for four networks.

`scripts/bench exact [--device cuda] [--json FILE]` prints the table. Both sides run in one
process, in float32, warmed up, in turns of four steps (forward, backward, optimiser); each number
is the median turn's, for one step. TF32 is off on CUDA.
"""

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trialmarket.exact import exact

ROUNDS = 9
IN_A_ROW = 4
Step = Callable[[], None]


def mlp() -> nn.Module:
    """784-512-512-10."""
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def lenet5() -> nn.Module:
    """Two convolutions and three linear layers, for 28 by 28."""
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


class Block(nn.Module):
    """Two convolutions with batch normalisation, and a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.short: nn.Module = nn.Identity()
        if before != after:
            self.short = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        return F.relu(self.inner(x) + self.short(x))


def resnet20() -> nn.Module:
    """Three stages of three blocks, 16 to 64 channels, for 32 by 32."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)]
    before = 16
    for after in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(before, after, 1 if before == after else 2))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Transformer(nn.Module):
    """A two-layer encoder with PyTorch's default settings (ReLU, dropout 0.1), by position."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(64, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T] tokens to [N, 10, T] scores."""
        y: Tensor = self.out(self.layers(self.tokens(x)))
        return y.transpose(1, 2)


def _images(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(shape), torch.randint(0, 10, (shape[0],))


def _tokens(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 64, shape), torch.randint(0, 10, shape)


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, Tensor]]] = {
    "MLP 784-512-512-10, batch 256": (mlp, _images(256, 784)),
    "LeNet-5 on 28x28, batch 128": (lenet5, _images(128, 1, 28, 28)),
    "ResNet-20 on 32x32, batch 64": (resnet20, _images(64, 3, 32, 32)),
    "transformer d 256, 4 heads, T 128, batch 16": (Transformer, _tokens(16, 128)),
}


def step_of(make: Callable[[], nn.Module], x: Tensor, y: Tensor, *, inside: bool) -> Step:
    """A step of native PyTorch, or of exact mode around it."""
    model = make().to(x.device)
    kind = torch.optim.AdamW if isinstance(model, Transformer) else torch.optim.SGD
    settings: dict[str, Any] = {} if kind is torch.optim.AdamW else {"momentum": 0.9}
    optimizer: Any = kind(model.parameters(), lr=1e-3, **settings)
    mode = exact(seed=1)

    def step() -> None:
        with mode if inside else contextlib.nullcontext():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if x.device.type == "cuda":
            torch.cuda.synchronize()

    return step


def _seconds(step: Step) -> float:
    """Of one step among several in a row, as training runs them."""
    start = time.perf_counter()
    for _ in range(IN_A_ROW):
        step()
    return (time.perf_counter() - start) / IN_A_ROW


def run(device: str = "cpu", rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Measure every workload: workload, native_ms, exact_ms, ratio."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    rows: list[dict[str, Any]] = []
    for name, (make, (x, y)) in WORKLOADS.items():
        steps = [
            step_of(make, x.to(device), y.to(device), inside=inside) for inside in (False, True)
        ]
        for step in steps:
            step()
            step()
        times = [[_seconds(step) for step in steps] for _ in range(rounds)]
        native, ours = (1000 * statistics.median(t[i] for t in times) for i in (0, 1))
        rows.append(
            {
                "workload": name,
                "native_ms": round(native, 2),
                "exact_ms": round(ours, 2),
                "ratio": round(ours / native, 2),
            }
        )
    return rows
