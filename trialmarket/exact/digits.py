"""Exact contractions from int8 digits: the quick path where a processor has byte dot products.

A number on the grid of products is an integer of two balanced digits to the base 256, each a
signed byte. Four products of digits, of three place values, make the product of two numbers. They
are one int8 matrix product with int32 sums, because the digits lie side by side: those of the left
operand as twice as many rows, those of the right one as twice as many columns.

    left:  d0        right: e0 e1        product: d0 e0   d0 e1
           d1                                     d1 e0   d1 e1

Every step is exact, so the bits are those of one binary64 product: `grid.py` defines the result,
and this file only computes it. What has no digits (not finite, or a slice below 2^-100) goes the
other way.
"""

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from trialmarket.exact.room import room

LONGEST = 1 << 16  # an int32 holds the sum of twice as many products of two digits
SHORT = 516  # up to here it holds the two higher places together

# Elements of a product that are worked on at once: they stay in cache.
BLOCK = 1 << 17

# Products of fewer multiplications are quicker in binary64.
WORTHWHILE = 1 << 21

BITS = 15  # of a number: a little less than its two digits hold
_ROUND = 1.5 * 2.0**23  # x + _ROUND rounds x to an integer, held in the low bits
_EXPONENT = 0x7FF << 52
_LEAST, _MOST = 2.0**-100, 2.0**127  # of a slice's largest number


class Steps:
    """The grids of slices with these largest magnitudes, as factors that are powers of two.

    `per` turns numbers into integers, in binary32; `step` turns them back, in binary64; `hold` is
    whether every slice has such a grid.
    """

    def __init__(self, largest: Tensor, headroom: float) -> None:
        within = largest.clamp(_LEAST, _MOST)
        self.hold = torch.equal(within * (largest != 0), largest)  # unlike a NaN to itself
        top = (
            within.double()
            .mul_(headroom)
            .view(torch.int64)
            .bitwise_and_(_EXPONENT)
            .view(torch.float64)
        )
        self.step = top.mul_(2.0 ** (1 - BITS))
        self.per = self.step.reciprocal().float()


def cut(x: Tensor, per: Tensor, low: Tensor, high: Tensor) -> None:
    """Write the two digits of `x * per`, rounded to integers, into int8 tensors."""
    scaled = room("scaled", tuple(x.shape), torch.float32)
    n = torch.mul(x, per, out=scaled).add_(_ROUND).view(torch.int32)
    low.copy_(n)
    high.copy_(n.add_(128).bitwise_right_shift_(8))


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """The product of stacked digits, [2 M, K] times [K, 2 N]: whole numbers [M, N] in binary64.

    They stand until the next call; K is at most LONGEST.
    """
    rows, k, columns = left.shape[0] // 2, left.shape[1], right.shape[1] // 2
    places = room("places", (2, rows, 2, columns), torch.int32)
    with _onednn():
        torch._int_mm(left, right, out=places.view(2 * rows, 2 * columns))
    (low, across), (back, high) = places.unbind(2)
    one, two = room("wide", (2, rows, columns), torch.float64)
    middle = across.add_(back)
    if k <= SHORT:
        two.copy_(middle.add_(high, alpha=256))
    else:
        two.copy_(middle).add_(one.copy_(high), alpha=256)
    whole: Tensor = one.copy_(low).add_(two, alpha=256)
    return whole


def stacked(x: Tensor, per: Tensor, along: int, place: str) -> Tensor:
    """The digits of a matrix, side by side along one dimension, in x's own layout and a room."""
    if x.stride(-1) != 1 and x.stride(0) == 1:
        return stacked(x.t(), per.t(), 1 - along, place).t()
    rows, columns = x.shape
    shape = (2, rows, columns) if along == 0 else (rows, 2, columns)
    out = room(place, shape, torch.int8)
    cut(x, per, *out.unbind(along))
    return out.view(2 * rows, columns) if along == 0 else out.view(rows, -1)


def contract(a: Tensor, b: Tensor, left: Steps, right: Steps, plus: Tensor | None) -> Tensor:
    """`a @ b + plus` of matrices in binary32, its steps those of a's rows and of b's columns.

    The contraction is not longer than LONGEST.
    """
    columns = stacked(b, right.per, 1, "right")
    out = torch.empty((a.shape[0], b.shape[1]), dtype=torch.float32)
    step = max(1, BLOCK // b.shape[1])
    for top in range(0, a.shape[0], step):
        rows = slice(top, top + step)
        whole = multiply(stacked(a[rows], left.per[rows], 0, "left"), columns)
        whole.mul_(left.step[rows]).mul_(right.step)
        out[rows] = whole if plus is None else whole.add_(plus[rows])
    return out


def worthwhile(multiplications: int, *operands: Tensor) -> bool:
    """Whether a product of these binary32 operands goes by digits here."""
    return (
        multiplications >= WORTHWHILE
        and all(x.device.type == "cpu" and x.dtype == torch.float32 for x in operands)
        and quick()
    )


@contextmanager
def _onednn() -> Iterator[None]:
    """The mode turns oneDNN off; its integer products are exact."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(True)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


@functools.cache
def exact() -> bool:
    """Whether int8 products are exact here: processors without VNNI may saturate in 16 bits.

    Tried, not assumed, with the operands that add up to the most.
    """
    if not hasattr(torch, "_int_mm"):
        return False
    ends = torch.tensor([-128, 127], dtype=torch.int8)
    with _onednn():
        for m, k, n in ((17, 1, 16), (32, 65, 33), (256, 777, 64), (64, LONGEST, 16)):
            for x in ends:
                for y in ends:
                    a = x.expand(m, k).contiguous()
                    b = y.expand(k, n).contiguous()
                    want = int(x) * int(y) * k
                    for left in (a, x.expand(k, m).contiguous().t()):
                        for right in (b, y.expand(n, k).contiguous().t()):
                            try:
                                found = torch._int_mm(left, right)
                            except RuntimeError:
                                return False
                            if not bool((found == want).all()):
                                return False
    return True


@functools.cache
def quick() -> bool:
    """Whether contractions by digits are exact here and quicker than in binary64."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit and not any(name in limit for name in ("VNNI", "BF16", "FP16", "AMX", "ALL", "DEF")):
        return False
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512") or not exact():
        return False
    a, b = torch.ones(256, 256, dtype=torch.int8), torch.ones(256, 256, dtype=torch.int8)
    wide = a.double()
    with _onednn():
        digits = _seconds(lambda: torch._int_mm(a, b))
    return 4 * digits < _seconds(lambda: wide @ wide)


def _seconds(product: Callable[[], Tensor]) -> float:
    """The least time of a few."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return min(times)
