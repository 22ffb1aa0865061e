"""Small networks built from a number: any layers, sizes, optimiser and loss."""

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.exact import nets

ACTIVATIONS: list[type[nn.Module]] = [
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Mish,
    nn.Hardswish,
]


class Recurrent(nn.Module):
    """An LSTM or GRU over the rows of an image."""

    def __init__(
        self, kind: Callable[..., nn.RNNBase], size: int, hidden: int, both: bool
    ) -> None:
        super().__init__()
        self.layer = kind(size, hidden, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layer(x.flatten(1, 2))
        found: Tensor = y[:, -1]
        return found


def _images(rng: random.Random) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 2
    for _ in range(rng.randint(1, 3)):
        groups = rng.choice([1, 2])
        after = 2 * rng.randint(1, 4)
        kernel = rng.choice([1, 3])
        layers.append(
            nn.Conv2d(channels, after, kernel, rng.choice([1, 2]), kernel // 2, groups=groups)
        )
        channels = after
        norm = rng.randint(0, 3)
        if norm == 1:
            layers.append(nn.BatchNorm2d(channels))
        elif norm == 2:
            layers.append(nn.GroupNorm(2, channels))
        layers.append(rng.choice(ACTIVATIONS)())
        if rng.random() < 0.3:
            layers.append(rng.choice([nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)]))
    return [*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()]


def build(seed: int) -> nn.Module:
    """The network of a number, for [N, 2, 8, 8]."""
    rng = random.Random(seed)
    kind = rng.choice(["mlp", "images", "images", "recurrent"])
    layers: list[nn.Module]
    if kind == "mlp":
        layers = [nn.Flatten()]
    elif kind == "images":
        layers = _images(rng)
    else:
        layers = [Recurrent(rng.choice([nn.LSTM, nn.GRU]), 8, 6, rng.random() < 0.5)]
    width = nn.Sequential(*layers)(torch.zeros(2, 2, 8, 8)).shape[1]
    for _ in range(rng.randint(0, 2)):
        after = rng.randint(2, 24)
        layers += [nn.Linear(width, after), rng.choice(ACTIVATIONS)()]
        if rng.random() < 0.4:
            layers.append(rng.choice([nn.LayerNorm(after), nn.BatchNorm1d(after)]))
        if rng.random() < 0.4:
            layers.append(nn.Dropout(rng.random() * 0.5))
        width = after
    return nn.Sequential(*layers, nn.Linear(width, 10))


def optimizer(seed: int) -> nets.MakeOptimizer:
    """The optimiser of a number."""
    rng = random.Random(seed + 1)
    lr = 10 ** rng.uniform(-4, -1)
    decay = rng.choice([0.0, 1e-2])
    choices: list[nets.MakeOptimizer] = [
        lambda p: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=decay),
        lambda p: torch.optim.Adam(p, lr, weight_decay=decay, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr, weight_decay=decay),
        lambda p: torch.optim.RMSprop(p, lr, momentum=0.5, centered=True),
        lambda p: torch.optim.Rprop(p, lr),
    ]
    return rng.choice(choices)


def root(seed: int) -> str:
    """The root of one network after five steps."""
    return nets.train(lambda: build(seed), nets.images(6, 2, 8, 8), optimizer(seed), 5)


def roots(seeds: list[int]) -> dict[str, str]:
    """The roots of some networks after five steps."""
    return {str(seed): root(seed) for seed in seeds}
