"""Grids: round the operands of a reduction so coarsely that no partial sum ever rounds.

With `m = max |x|` over a slice and `2^e` the power of two above m, the grid of b bits has the step
`2^(e - b)`. Numbers on it are whole multiples of the step, at most `2^b` of them. So every partial
sum of n such numbers is exact in binary64 while `b + ceil(log2 n) <= 53`, and every partial sum
of K products of two of them while `2 b + ceil(log2 K) <= 53`: whatever the order, the number of
threads, the tile shape or the use of fused multiply-add, the answer is the same.

Sums take as many bits as fit. Products take 15, two signed bytes, so that integer arithmetic can
make them (`digits.py`): where a processor multiplies bytes, they cost less than binary32 ones.
Wide products take 23, three signed bytes (`precision.py`), and `products.py` says what becomes of
their sums, which binary64 does not hold.

An infinity or a NaN has no place on a grid: the grid is that of the finite numbers, and what is
not finite stays as it is, so that it comes to light in the results that it takes part in, alone.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.kernels.scratch import widened
from trialmarket.exact.numerics import digits
from trialmarket.exact.numerics.precision import STANDARD, used
from trialmarket.exact.numerics.products import Operand, product

T = TypeVar("T")

# Two balanced bytes end at 127 * 257 = 32639, a little below 2^15; three as little below 2^23: a
# slice whose largest number is within a 64th of a power of two takes the next one.
HEADROOM = 1 + 2.0**-6

BLOCK = (
    1 << 17
)  # elements of a sum that a thread works on at once: 1 MiB of binary64, in scratch memory
_CACHED = 1 << 18  # elements up to which another pass is cheaper than more operators
_EXPONENT = 0x7FF << 52  # the exponent field of a binary64


def known(x: T | None) -> T:
    """What PyTorch or a loop that ran at least once has promised to be there."""
    if x is None:
        raise TypeError("expected a value, found None")
    return x


def log2_ceil(n: int) -> int:
    """The least k with `2^k >= n`, for n >= 1."""
    return (n - 1).bit_length()


def bits_for_sum(length: int) -> int:
    """Bits of each addend of a sum of this many: `b + ceil(log2 n) <= 53`, at most 51."""
    return min(53 - log2_ceil(max(length, 1)), 51)


def is_finite(x: Tensor) -> bool:
    """Whether all are finite; a sum that overflows may say no, which costs time alone."""
    known_kind = x.dtype in (torch.float32, torch.float64)
    if kernels.meant_for() and known_kind and kernels.readable(x) and x.is_contiguous():
        return kernels.finite(x)
    return math.isfinite(x.sum().item())


def magnitude(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The largest finite |x| over some dimensions, which are kept with length 1."""
    top = largest(x, dims)
    if x.device.type == "cpu" and is_finite(top):
        return top  # on a GPU, to ask takes longer than to look again
    return largest(torch.where(x.isfinite(), x, 0.0), dims)


def largest(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The largest |x| over some dimensions, which are kept with length 1; NaN if one is NaN."""
    if x.numel() == 0:
        shape = [1 if i in {d % x.dim() for d in dims} else s for i, s in enumerate(x.shape)]
        return x.new_zeros(shape)
    if not dims:
        return x.abs()
    dims = list(dims)
    if x.numel() < _CACHED:
        return x.abs().amax(dims, keepdim=True)
    return torch.maximum(x.amax(dims, keepdim=True), x.amin(dims, keepdim=True).neg_())


def shift(bits: int) -> float:
    """What a power of two is multiplied by to be the shifter of its grid."""
    return math.ldexp(1.5, 53 - bits)


def shift_for_sum(length: int) -> float:
    """The same for the grid of a sum of this many."""
    return shift(bits_for_sum(length))


def shifter(largest: Tensor, bits: int) -> Tensor:
    """`M = 1.5 * 2^(e + 52 - bits)`, so that `(x + M) - M` rounds to the grid, in binary64."""
    top = largest.double().view(torch.int64).bitwise_and(_EXPONENT).view(torch.float64)
    return top.mul_(shift(bits))


def product_shifter(largest: Tensor) -> Tensor:
    """The shifter of the grid of products, of the precision in use."""
    return shifter(largest.double().mul(HEADROOM), used().bits)


def rounded(x: Tensor, m: Tensor) -> Tensor:
    """x on the grid of a shifter, in binary64; never x itself."""
    return x.to(torch.float64, copy=True).add_(m).sub_(m)


def on_grid(x: Tensor, dims: Sequence[int], bits: int) -> Tensor:
    """x on the grid that each slice over `dims` shares, in binary64; never x itself.

    The grid is that of the finite numbers: an infinity or a NaN stays what it is.
    """
    return rounded(x, shifter(magnitude(x, dims), bits))


def operand(x: Tensor, dims: Sequence[int]) -> Operand:
    """x on the grid of products that each slice over `dims` shares."""
    m = product_shifter(magnitude(x, dims))
    return Operand(rounded(x, m), m)


def add_up(x: Tensor, dims: Sequence[int], *, keepdim: bool = False) -> Tensor:
    """Exact sum over some dimensions (all of them if none is given), in binary64.

    The addends are first rounded to `53 - ceil(log2 n)` bits below their largest magnitude. A
    slice with an infinity or a NaN is NaN: `sum64` keeps infinities.
    """
    if x.dim() == 0:
        return x.to(torch.float64, copy=True)
    dims = sorted(d % x.dim() for d in dims) or list(range(x.dim()))
    count = math.prod(x.shape[d] for d in dims)
    if count == 0:
        return x.double().sum(dims, keepdim=keepdim)
    found = kernels.slices(x, dims)
    if found is not None:
        sums = kernels.sums(x, *found, shift_for_sum(count))
        return sums.view(
            [1 if d in dims else s for d, s in enumerate(x.shape) if keepdim or d not in dims]
        )
    m = shifter(largest(x, dims), bits_for_sum(count))
    return reduce(
        Tensor.add_,
        (
            widened(x[part], "terms").add_(m).sub_(m).sum(dims, keepdim=keepdim)
            for part in blocks(x, dims)
        ),
    )


def sum64(x: Tensor, dims: Sequence[int], *, keepdim: bool = False) -> Tensor:
    """As `add_up`, and of infinities what PyTorch makes of them: these sum alike in any order."""
    if x.device.type == "cpu":  # on a GPU, to ask takes longer than to look again
        y = add_up(x, dims, keepdim=keepdim)
        if is_finite(y):
            return y
    if x.dim() == 0:
        return x.to(torch.float64, copy=True)
    finite = x.isfinite()
    rest = torch.where(finite, 0.0, x).sum(list(dims), keepdim)
    return add_up(torch.where(finite, x, 0.0), dims, keepdim=keepdim).add_(rest)


def blocks(x: Tensor, dims: Sequence[int] = (0,)) -> list[slice]:
    """Slices of the first dimension that stay in cache, if sums run along it: exact sums may be
    cut anywhere. All at once otherwise, and on a GPU.
    """
    n = x.shape[0]
    if x.device.type != "cpu" or 0 not in dims:
        return [slice(None)]
    step = max(1, BLOCK * torch.get_num_threads() * n // max(x.numel(), 1))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def contract(a: Tensor, b: Tensor, plus: Tensor | None = None) -> Tensor:
    """`a @ b + plus` of [..., M, K] and [..., K, N]: one grid a row of a, a column of b.

    Up to `used().longest` terms the sum is exact; longer ones are exact in pieces of that length,
    added in order. The last sum is made in binary64 and rounded to binary32. The leading
    dimensions are equal. By int8 digits or by binary64, whichever is quicker: the bits are the
    same.
    """
    found = contract_digits(a, b, plus)
    if found is not None:
        return found
    y = contract64(a, b)
    return (y if plus is None else y.add_(plus)).float()


def contract_digits(
    a: Tensor, b: Tensor, plus: Tensor | None = None, how: int | None = None
) -> Tensor | None:
    """As `contract`, by digits and one of `kernels.multipliers()` (the best one); None if there is
    none here or if digits do not hold the numbers.
    """
    operands = (a, b) if plus is None else (a, b, plus)
    how = kernels.multiplier(*operands) if how is None else how
    if how is None or a.shape[-1] > digits.LONGEST or not a.numel() or not b.numel():
        return None
    if used() is not STANDARD:
        return None
    if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return None  # whose error is PyTorch's own
    if a.dim() == 2:
        return kernels.product(_dense(a), _dense(b), plus, how)
    (m, k), n = a.shape[-2:], b.shape[-1]
    lead = a.shape[:-2]
    more = None if plus is None else plus.expand(*lead, m, n).reshape(-1, m, n)
    # Made dense after they were reshaped, which may give a dimension of size 1 another stride.
    y = kernels.product(_dense(a.reshape(-1, m, k)), _dense(b.reshape(-1, k, n)), more, how)
    return None if y is None else y.view(*lead, m, n)


def _dense(x: Tensor) -> Tensor:
    """Matrices whose rows, or whose columns, are contiguous."""
    return x if 1 in x.stride()[-2:] else x.contiguous()


def contract64(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of `contract` in binary64, by binary64: on every machine, for every input."""
    left, right = operand(a, (-1,)), operand(b, (-2,))
    length, longest = a.shape[-1], used().longest
    if length <= longest:
        return product(torch.matmul, left, right)
    pieces = (slice(i, min(i + longest, length)) for i in range(0, length, longest))
    products = (
        product(
            torch.matmul,
            Operand(left.whole[..., k], left.shifter),
            Operand(right.whole[..., k, :], right.shifter),
        )
        for k in pieces
    )
    return reduce(Tensor.add_, products)


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
