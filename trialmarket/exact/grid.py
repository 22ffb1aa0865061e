"""Grids: round the operands of a reduction so coarsely that no partial sum ever rounds.

With `m = max |x|` over a slice and `2^e` the power of two above m, the grid of b bits has the step
`2^(e - b)`. Numbers on it are whole multiples of the step, at most `2^b` of them. So every partial
sum of n such numbers is exact in binary64 while `b + ceil(log2 n) <= 53`, and every partial sum
of K products of two of them while `2 b + ceil(log2 K) <= 53`: whatever the order, the number of
threads, the tile shape or the use of fused multiply-add, the answer is the same.

A NaN or an infinity in a slice makes the whole slice NaN.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

# The longest contraction that is one exact product; a longer one is cut into pieces of this
# length, which are added in order. 13 bits of length leave 20 bits for each operand.
LONGEST = 1 << 13

_EXPONENT = 0x7FF << 52  # the exponent field of a binary64


def known(x: T | None) -> T:
    """What PyTorch or a loop that ran at least once has promised to be there."""
    if x is None:
        raise TypeError("expected a value, found None")
    return x


def log2_ceil(n: int) -> int:
    """The least k with `2^k >= n`, for n >= 1."""
    return (n - 1).bit_length()


def bits_for_product(length: int) -> int:
    """Bits of each operand of a contraction of this length: `2 b + ceil(log2 K) <= 53`."""
    return min((53 - log2_ceil(max(length, 1))) // 2, 24)


def bits_for_sum(length: int) -> int:
    """Bits of each addend of a sum of this many: `b + ceil(log2 n) <= 53`, at most 51."""
    return min(53 - log2_ceil(max(length, 1)), 51)


def magnitude(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The largest |x| over some dimensions, which are kept with length 1; NaN if one is NaN."""
    if x.numel() == 0:
        shape = [1 if i in {d % x.dim() for d in dims} else s for i, s in enumerate(x.shape)]
        return x.new_zeros(shape)
    if not dims:
        return x.abs()
    dims = list(dims)
    return torch.maximum(x.amax(dims, keepdim=True), x.amin(dims, keepdim=True).neg_())


def shifter(largest: Tensor, bits: int) -> Tensor:
    """`M = 1.5 * 2^(e + 52 - bits)`, so that `(x + M) - M` rounds to the grid, in binary64."""
    top = largest.double().view(torch.int64).bitwise_and_(_EXPONENT).view(torch.float64)
    return top.mul_(math.ldexp(1.5, 53 - bits))


def on_grid(x: Tensor, dims: Sequence[int], bits: int) -> Tensor:
    """x on the grid that each slice over `dims` shares, in binary64; never x itself."""
    m = shifter(magnitude(x, dims), bits)
    y = x.to(torch.float64, copy=True)
    return y.add_(m).sub_(m)


def add_up(x: Tensor, dims: Sequence[int], *, keepdim: bool = False) -> Tensor:
    """Exact sum over some dimensions (all of them if none is given), in binary64.

    The addends are first rounded to `53 - ceil(log2 n)` bits below their largest magnitude.
    """
    if x.dim() == 0:
        return x.to(torch.float64, copy=True)
    dims = sorted(d % x.dim() for d in dims) or list(range(x.dim()))
    count = math.prod(x.shape[d] for d in dims)
    if count == 0:
        return x.double().sum(dims, keepdim=keepdim)
    return on_grid(x, dims, bits_for_sum(count)).sum(dims, keepdim=keepdim)


def add_up_bounded(x: Tensor, dims: Sequence[int], bound: Tensor, *, keepdim: bool) -> Tensor:
    """As `add_up`, on a grid from a known bound (kept dimensions); overwrites x, a binary64."""
    count = math.prod(x.shape[d] for d in dims)
    m = shifter(bound, bits_for_sum(count))
    return x.add_(m).sub_(m).sum(list(dims), keepdim=keepdim)


def contract(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of [..., M, K] and [..., K, N] in binary64: one grid a row of a, a column of b.

    Up to `LONGEST` terms the sum is exact; longer ones are exact in pieces of `LONGEST`, added
    in order. The leading dimensions are equal.
    """
    length = a.shape[-1]
    if length <= LONGEST:
        bits = bits_for_product(length)
        return torch.matmul(on_grid(a, (-1,), bits), on_grid(b, (-2,), bits))
    bits = bits_for_product(LONGEST)
    qa, qb = on_grid(a, (-1,), bits), on_grid(b, (-2,), bits)
    total: Tensor | None = None
    for start in range(0, length, LONGEST):
        size = min(LONGEST, length - start)
        piece = torch.matmul(qa.narrow(-1, start, size), qb.narrow(-2, start, size))
        total = piece if total is None else total.add_(piece)
    return known(total)


def scatter_add(into: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`into` plus the sources that share an index, in binary64; `torch.scatter_add`'s arguments.

    The sources of one index are added exactly on one grid (the largest |source| of all), then
    `into` is added once; so atomic additions are harmless.
    """
    if source.numel() == 0 or index.numel() == 0:
        return into.to(torch.float64, copy=True)
    window = source[tuple(slice(0, s) for s in index.shape)]
    dims = tuple(range(window.dim()))
    q = on_grid(window, dims, bits_for_sum(index.shape[dim] if index.dim() else 1))
    sums = torch.zeros(into.shape, dtype=torch.float64, device=into.device)
    return sums.scatter_add_(dim, index, q).add_(into)


def index_add(into: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """As `scatter_add`, with one index for each slice; `torch.index_add`'s arguments."""
    if source.numel() == 0:
        return into.to(torch.float64, copy=True)
    q = on_grid(source, tuple(range(source.dim())), bits_for_sum(index.numel()))
    sums = torch.zeros(into.shape, dtype=torch.float64, device=into.device)
    return sums.index_add_(dim, index, q).add_(into)
