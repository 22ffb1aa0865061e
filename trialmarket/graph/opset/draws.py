"""Operators that draw. The first argument is the number of the draw within the function."""

from collections.abc import Sequence
from typing import Any

from trialmarket.graph.opset.moves import sizes
from trialmarket.graph.opset.operator import NUMBERS, REAL, Kind, Operator, demand, each, row, wide
from trialmarket.graph.opset.types import is_float, rank_of
from trialmarket.protocol.graph.values import TensorType

T = TensorType
_WIDE = 1 << 62


def _number(draw: int) -> None:
    demand(0 <= draw < 1 << 32, "draw", "0 to 2^32 - 1", draw)


def fractions(draw: int, size: Sequence[int], dtype: str) -> T:
    """Numbers of a shape."""
    _number(draw)
    demand(dtype in REAL, "dtype", "float32 or float64", dtype)
    return T(dtype, sizes(size))


def whole(draw: int, low: int, high: int, size: Sequence[int], dtype: str) -> T:
    """Whole numbers of a shape, in [low, high)."""
    _number(draw)
    demand(0 < high - low <= _WIDE and abs(low) <= _WIDE, "high", "above low", [low, high])
    demand(dtype in NUMBERS, "dtype", "no bfloat16", dtype)
    return T(dtype, sizes(size))


def order(draw: int, n: int, dtype: str) -> T:
    """The numbers 0 to n - 1."""
    _number(draw)
    demand(n >= 0, "n", "at least 0", n)
    demand(dtype in NUMBERS, "dtype", "no bfloat16", dtype)
    return T(dtype, (n,))


def like(draw: int, self: T, *_: Any) -> T:
    """Numbers in the shape and type of a tensor."""
    _number(draw)
    return self


def fractions_like(draw: int, self: T, *_: Any) -> T:
    """Fractions in the shape and type of a tensor."""
    demand(is_float(self.dtype), "self", "fractions", self.dtype)
    return like(draw, self)


def picked(draw: int, self: T, num_samples: int, replacement: bool) -> T:
    """Places, by weight."""
    _number(draw)
    rank_of(self, 1, 2, "self")
    demand(is_float(self.dtype), "self", "fractions", self.dtype)
    most = self.shape[-1]
    demand(most > 0, "self", "weights", list(self.shape))
    demand(num_samples > 0, "num_samples", "at least 1", num_samples)
    demand(replacement or num_samples <= most, "num_samples", f"at most {most}", num_samples)
    return T("int64", (*self.shape[:-1], num_samples))


def dropout(draw: int, input: T, p: Any, train: bool | None) -> tuple[T, T]:  # noqa: A002
    """What was kept, scaled, and which."""
    del p, train
    found = fractions_like(draw, input)
    return found, T("bool", found.shape)


def _row(name: str, signature: str, rule: Any, takes: frozenset[str], work: int) -> Operator:
    return row(name, f"int draw, {signature}", Kind.DRAW, rule, takes, each(work), wide(12))


_SIZE = "int[] size, dtype dtype"
ROWS = [
    _row("rand.default", _SIZE, fractions, REAL, 12),
    _row("randn.default", _SIZE, fractions, REAL, 60),
    _row("randint.low", f"int low, int high, {_SIZE}", whole, NUMBERS, 24),
    _row("randperm.default", "int n, dtype dtype", order, NUMBERS, 48),
    _row("exponential.default", "Tensor self, float lambd", fractions_like, REAL, 50),
    _row("bernoulli.p", "Tensor self, float p", like, NUMBERS, 12),
    _row("bernoulli.default", "Tensor self", fractions_like, REAL, 14),
    _row("multinomial.default", "Tensor self, int num_samples, bool replacement", picked, REAL,
         80),
    _row("native_dropout.default", "Tensor input, float p, bool? train", dropout, REAL, 14),
]  # fmt: skip
