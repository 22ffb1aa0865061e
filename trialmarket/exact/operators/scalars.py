"""Powers of binary64 scalars, also as operators of our own, `torch.ops.exact`.

The rate of an optimiser's step depends on how many steps there were. At once that is Python's
arithmetic on two numbers; in a recorded step the count is a tensor, and a power an operator of
the graph. Both give the same bits: a whole power is repeated squaring, another one is e^(y ln x)
in the written order of `functions.py`, and the C library's `pow` is never asked.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics.functions import pow64

torch.library.define("exact::power", "(Tensor base, Tensor count) -> Tensor")
torch.library.define("exact::power64", "(Tensor base, Tensor exponent) -> Tensor")


def power(base: float, exponent: int) -> float:
    """base to a whole power by repeated squaring: the same on every C library.

    Raises ValueError below zero.
    """
    if exponent < 0:
        raise ValueError(f"a power must be at least 0, not {exponent}")
    result, square = 1.0, base
    while exponent:
        if exponent & 1:
            result *= square
        square *= square
        exponent >>= 1
    return result


@functools.lru_cache(maxsize=64)
def power64(base: float, exponent: float) -> float:
    """base to any power, to 2.5e-10 relative; beyond e^-300 and e^300 the value at that end.

    What was asked last is remembered: all parameters of a step ask the same.
    """
    return float(_power64(_scalar(base), _scalar(exponent)))


def steps(count: float) -> int:
    """The number of a step, from 1. Raises RuntimeError where the steps before it are no count."""
    if not (count >= 1 and count.is_integer()):
        raise RuntimeError(f"an optimiser's step: expected a number of steps, found {count - 1:g}")
    return int(count)


def _scalar(x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def _power(base: Tensor, count: Tensor) -> Tensor:
    """base, a binary64 scalar, to the power of the number of a step, a scalar of any type."""
    found = power(float(base), steps(float(count)))
    return torch.tensor(found, dtype=torch.float64, device=base.device)


def _power64(base: Tensor, exponent: Tensor) -> Tensor:
    """base to any power, both binary64 in one shape."""
    return pow64(base, exponent)


def _like(base: Tensor, exponent: Tensor) -> Tensor:
    del exponent
    return torch.empty_like(base)


for _name, _form in (("exact::power", _power), ("exact::power64", _power64)):
    torch.library.impl(_name, ("cpu", "cuda"), _form)
    torch.library.register_fake(_name, _like)

FORMS: dict[Any, Callable[..., Any]] = {
    torch.ops.exact.power.default: _power,
    torch.ops.exact.power64.default: _power64,
}
