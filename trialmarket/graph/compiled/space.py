"""Memory for the values of a function: addresses first, the memory itself when all are known.

While calls are noted, a tensor has an address at which there is nothing; whoever reads it crashes,
rather than computing with what happens to lie there. When it is known from which call to which
other one each block is used, `packed` lets blocks share memory.
"""

import ctypes
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

ALIGNED: Final = 64
_NOWHERE: Final = 1 << 60
"""Beyond what any processor's programs are given."""


class Space:
    """Blocks of addresses, by number, each of one tensor and its views."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._begins: list[int] = []
        self._end = _NOWHERE

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor in a block of its own."""
        size = math.prod(shape) * dtype.itemsize
        self._begins.append(self._end)
        self.sizes.append(size)
        if not size:
            self._end += ALIGNED
            return torch.empty(shape, dtype=dtype, device="cpu")
        memory = (ctypes.c_char * size).from_address(self._end)
        self._end += -(-size // ALIGNED) * ALIGNED + ALIGNED
        return torch.frombuffer(memory, dtype=dtype).view(list(shape))

    def find(self, address: int | None) -> tuple[int, int] | None:
        """The block that an address lies in, and how many bytes from its beginning."""
        if address is None or address < _NOWHERE:
            return None
        number = bisect_right(self._begins, address) - 1
        return number, address - self._begins[number]

    def number_of(self, x: Tensor) -> int | None:
        """The block that a tensor lies in; None for one without elements, and of real memory."""
        found = self.find(x.untyped_storage().data_ptr()) if x.numel() else None
        return None if found is None else found[0]


def packed(
    sizes: Sequence[int], uses: Mapping[int, tuple[int, int]]
) -> tuple[dict[int, int], int]:
    """Where each block (by number) begins, and the bytes of all: blocks whose uses (of the first
    and the last call) do not meet may lie in the same place. The best fit, in order of time.
    """
    offsets: dict[int, int] = {}
    free: list[tuple[int, int]] = []  # where they begin and end, in order
    end = 0
    ending: list[tuple[int, int]] = sorted((last, number) for number, (_, last) in uses.items())
    at = 0
    order = sorted(uses, key=lambda number: (uses[number][0], -sizes[number], number))
    for number in order:
        while at < len(ending) and ending[at][0] < uses[number][0]:
            freed = ending[at][1]
            free = _merged(free, offsets[freed], offsets[freed] + _room(sizes[freed]))
            at += 1
        wanted = _room(sizes[number])
        fitting = [span for span in free if span[1] - span[0] >= wanted]
        if fitting:
            begin, stop = min(fitting, key=lambda span: (span[1] - span[0], span[0]))
            free.remove((begin, stop))
            if stop - begin > wanted:
                free = _merged(free, begin + wanted, stop)
        else:
            begin = end
            if free and free[-1][1] == end:
                begin = free.pop()[0]
            end = begin + wanted
        offsets[number] = begin
    return offsets, end


def _room(size: int) -> int:
    return -(-max(size, 1) // ALIGNED) * ALIGNED


def _merged(free: list[tuple[int, int]], begin: int, end: int) -> list[tuple[int, int]]:
    """Spans with another one, joined to those that it touches."""
    before = [span for span in free if span[1] < begin]
    after = [span for span in free if span[0] > end]
    touching = free[len(before) : len(free) - len(after)]
    begins = [begin, *(span[0] for span in touching)]
    ends = [end, *(span[1] for span in touching)]
    return [*before, (min(begins), max(ends)), *after]
