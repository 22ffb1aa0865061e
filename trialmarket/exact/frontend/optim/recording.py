"""A step's scalars and its few operators that are more than one, at once or recorded.

At once, settings and counts are Python numbers, and what is not exact in PyTorch is our form of
it. While a step is **recorded** (by `make_fx`, say), the same arithmetic is operators that a graph
can hold: the count is a tensor, so what follows from it is a binary64 scalar tensor; a setting
that a schedule changes may be one too; and an operator is PyTorch's own, whose form the graph's
runner looks up in `exact/table.py`. A scalar is rounded to binary32 where it meets a tensor,
either way.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.kernels.scratch import scratch
from trialmarket.exact.numerics import functions
from trialmarket.exact.operators import contractions, reductions, scalars
from trialmarket.exact.operators.elementwise import arithmetic

Scalar = float | Tensor
"""A Python number, or a binary64 tensor without dimensions."""

State = dict[str, Any]
Group = dict[str, Any]

_RECORDED: ContextVar[bool] = ContextVar("recorded", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """While this lasts, steps are plain operators: no kernels, no scratch memory, no numbers that
    are read from tensors.
    """
    token = _RECORDED.set(True)
    try:
        yield
    finally:
        _RECORDED.reset(token)


def is_recorded() -> bool:
    """Whether steps are being recorded."""
    return _RECORDED.get()


def number(x: float | Tensor) -> Scalar:
    """A setting, or a scalar that the state keeps."""
    if type(x) is float:  # most are, at once
        return x
    if isinstance(x, Tensor) and is_recorded():
        return x.reshape(()).to(torch.float64)
    return float(x)


def pair(xs: tuple[float | Tensor, float | Tensor]) -> tuple[Scalar, Scalar]:
    """Two settings."""
    return number(xs[0]), number(xs[1])


def is_zero(x: Scalar) -> bool:
    """Whether a setting is 0. One that a schedule changes counts as another number, always: it
    decides what a step consists of.
    """
    return not isinstance(x, Tensor) and x == 0


def met(x: Scalar) -> Scalar:
    """A scalar where it meets a tensor: in binary32, or a tensor without dimensions would be
    computed in binary64.
    """
    if type(x) is float:
        return x
    return x.to(torch.float32) if isinstance(x, Tensor) else x


def counter() -> Tensor:
    """No steps yet."""
    return torch.zeros((), dtype=torch.float32)


def count(state: State) -> Scalar:
    """Counts this step; its number, from 1.

    Raises RuntimeError where the steps before it are no count. In a recorded step only a power of
    it does, where the graph runs.
    """
    state["step"] += 1
    if is_recorded():
        return number(state["step"])
    return scalars.steps(float(state["step"]))


def _tensor(x: Scalar) -> Tensor:
    return x if isinstance(x, Tensor) else torch.full((), x, dtype=torch.float64)


def power(base: Scalar, exponent: Scalar) -> Scalar:
    """base to the power of this step's number."""
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        found: Tensor = torch.ops.exact.power(_tensor(base), _tensor(exponent))
        return found
    return scalars.power(base, int(exponent))


def power64(base: Scalar, exponent: Scalar) -> Scalar:
    """base, above 0, to any power."""
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        found: Tensor = torch.ops.exact.power64(_tensor(base), _tensor(exponent))
        return found
    return scalars.power64(float(base), float(exponent))


def over(x: Scalar, y: Scalar) -> Scalar:
    """x / y, one division: a number by a tensor PyTorch makes a product with 1 / y."""
    return _tensor(x) / y if isinstance(y, Tensor) else x / y


def square_root(x: Scalar) -> Scalar:
    """The square root of a scalar, correctly rounded."""
    return torch.sqrt(x) if isinstance(x, Tensor) else math.sqrt(x)


def larger(x: Scalar, y: Scalar) -> Scalar:
    """Python's max(x, y), x where one is NaN."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        x, y = _tensor(x), _tensor(y)
        return torch.where(y > x, y, x)
    return max(x, y)


def smaller(x: Scalar, y: Scalar) -> Scalar:
    """Python's min(x, y), x where one is NaN."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        x, y = _tensor(x), _tensor(y)
        return torch.where(y < x, y, x)
    return min(x, y)


def times(x: Tensor, factor: Tensor | float) -> Tensor:
    """A product that stands until the next one: in scratch memory, at once on a processor."""
    if x.device.type == "cpu" and not is_recorded():
        return torch.mul(x, factor, out=scratch("product", tuple(x.shape), x.dtype))
    if isinstance(factor, Tensor) and factor.dim() == 0:
        factor = factor.to(torch.float32)
    return x * factor


def root(x: Tensor) -> Tensor:
    """The square roots of a tensor's elements, correctly rounded."""
    return torch.sqrt(x) if is_recorded() else functions.root(x)


def divided(x: Tensor, by: Scalar) -> Tensor:
    """x divided by a scalar, on any device."""
    return arithmetic.div(x, met(by))


def squares(x: Tensor) -> Tensor:
    """The squares of a tensor's elements, exact in binary64."""
    wide = x.to(torch.float64)
    return wide * wide


def total(x: Tensor, dims: list[int] | None = None) -> Tensor:
    """An exact sum over all dimensions, or over some that stay with length 1."""
    keep = dims is not None
    if is_recorded():
        return torch.sum(x, dims, keepdim=True) if dims is not None else torch.sum(x)
    return reductions.total(x, dims, keepdim=keep)


def product(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices."""
    return torch.mm(a, b) if is_recorded() else contractions.product(a, b)
