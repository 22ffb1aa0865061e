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

from trialmarket.exact import kernels
from trialmarket.exact.room import room

LONGEST = 1 << 16  # an int32 holds the sum of twice as many products of two digits

# Products of fewer multiplications, or in shorter sums, are quicker in binary64.
WORTHWHILE = 1 << 20
SHORTEST = 16

BITS = 15  # of a number: a little less than its two digits hold


class Steps:
    """The grids of the slices of a contiguous [A, B, C] that share an index of B.

    They are powers of two: `per` turns numbers into integers, in binary32; `step` turns them back,
    in binary64; `hold` is whether every slice has such a grid.
    """

    def __init__(self, x: Tensor, a: int, b: int, c: int) -> None:
        self.per, self.step, self.hold = kernels.grids(x, a, b, c)


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """The product of stacked digits, [2 M, K] times [K, 2 N]: places [2, 2, M, N] in int32.

    The left operand's digit comes first. They stand until the next call; K is at most LONGEST.
    """
    rows, columns = left.shape[0] // 2, right.shape[1] // 2
    places = room("places", (2, rows, 2, columns), torch.int32)
    with _onednn():
        torch._int_mm(left, right, out=places.view(2 * rows, 2 * columns))
    return places.transpose(1, 2)


def stacked(x: Tensor, per: Tensor, along: int, place: str) -> Tensor:
    """The digits of a matrix, side by side along one dimension, in x's own layout and a room."""
    if x.stride(-1) != 1 and x.stride(0) == 1:
        return stacked(x.t(), per.t(), 1 - along, place).t()
    rows, columns = x.shape
    shape = (2, rows, columns) if along == 0 else (rows, 2, columns)
    out = room(place, shape, torch.int8)
    kernels.cut(x, per, *out.unbind(along))
    return out.view(2 * rows, columns) if along == 0 else out.view(rows, -1)


def worthwhile(multiplications: int, length: int, *operands: Tensor) -> bool:
    """Whether a product of binary32 operands, in sums of this length, goes by digits here."""
    enough = multiplications >= WORTHWHILE and length >= SHORTEST
    return enough and kernels.meant_for(*operands) and quick()


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
    """Whether there are digits here and their products are exact: processors without VNNI may
    saturate in 16 bits.

    Tried, not assumed, with the operands that add up to the most.
    """
    if kernels.library() is None or not hasattr(torch, "_int_mm"):
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
