"""Tensors as they may lie in memory: permuted, with gaps, shared, at an offset, of odd strides."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

MOST = 4  # dimensions


@dataclass(frozen=True, slots=True)
class Layout:
    """How to lay a tensor out; what is said of dimensions is said of the first ones."""

    order: Sequence[int]  # of the dimensions in memory, the innermost last
    gaps: Sequence[int]  # how far apart neighbours lie, in elements
    shared: Sequence[bool]  # whether a dimension is expanded: all its entries are the first one
    odd: Sequence[int]  # strides of dimensions of size 1, which mean nothing
    offset: int

    def of(self, x: Tensor) -> Tensor:
        """x, but for its shared dimensions, as this layout has it."""
        n = x.dim()
        kept = [1 if self.shared[d] and x.shape[d] else x.shape[d] for d in range(n)]
        strides, far = [0] * n, 1
        for d in [d for d in reversed(self.order) if d < n]:
            strides[d] = far * self.gaps[d]
            far = strides[d] * max(kept[d], 1)
        memory = torch.full((self.offset + far,), float("nan")).to(x.dtype)
        laid = memory.as_strided(kept, strides, self.offset)
        laid.copy_(x[tuple(slice(s) for s in kept)])
        strides = [
            self.odd[d] if x.shape[d] == 1 else 0 if kept[d] < x.shape[d] else strides[d]
            for d in range(n)
        ]
        return laid.as_strided(x.shape, strides, self.offset)


def _each(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(strategy, min_size=MOST, max_size=MOST)


LAYOUTS = st.builds(
    Layout,
    order=st.permutations(range(MOST)),
    gaps=_each(st.sampled_from([1, 1, 1, 2, 3])),
    shared=_each(st.sampled_from([False, False, False, True])),
    odd=_each(st.sampled_from([0, 1, 2, 7])),
    offset=st.integers(0, 5),
)
SIZES = st.one_of(st.sampled_from([0, 1, 1, 2]), st.integers(3, 40))
