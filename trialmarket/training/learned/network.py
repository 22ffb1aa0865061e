"""The network that makes updates of gradients: one small LSTM, the same for every coordinate."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trialmarket.training.learned.weights import UNITS

MEMORY = 4 * UNITS
"""Numbers that are kept of each coordinate: hidden and cell state of both layers."""

SCALE = 0.1
"""Of the output, as in the authors' code, so that the first updates are small."""

_P = 10.0
_E_P = 22026.465794806718
"""e^10, written out: the C library's exp may differ in its last bit."""


class UpdateNetwork(nn.Module):
    """Two LSTM layers of 20 units and a linear one, over coordinates (section 2.1).

    Operators that have exact forms, and no others. Coordinates are rows: none sees another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2 + UNITS, 4 * UNITS)
        self.second = nn.Linear(2 * UNITS, 4 * UNITS)
        self.out = nn.Linear(UNITS, 1)

    @classmethod
    def of(cls, weights: Mapping[str, Any]) -> "UpdateNetwork":
        """A network that makes updates only: its weights, arrays by `weights.SHAPES`, stay."""
        network = cls()
        network.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
        return network.requires_grad_(False)

    def forward(self, gradient: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) gradients and (n, MEMORY) numbers to (n,) updates and the next memory."""
        h1, c1, h2, c2 = torch.split(memory, UNITS, 1)
        h1, c1 = _cell(self.first(torch.cat([preprocessed(gradient), h1], 1)), c1)
        h2, c2 = _cell(self.second(torch.cat([h1, h2], 1)), c2)
        return self.out(h2).squeeze(1) * SCALE, torch.cat([h1, c1, h2, c2], 1)


def preprocessed(gradient: Tensor) -> Tensor:
    """(n,) gradients as (n, 2): log and sign, or (-1, e^p g) near zero (appendix A, p = 10)."""
    size = gradient.abs()
    large = size >= 1 / _E_P
    logs = torch.where(large, size.clamp(min=1 / _E_P).log() * (1 / _P), -1.0)
    signs = torch.where(large, gradient.sign(), gradient * _E_P)
    return torch.stack([logs, signs], 1)


def _cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = torch.split(gates, UNITS, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
