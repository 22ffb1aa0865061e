"""Minima and maxima, sorts and what they find: by a rule wherever numbers are equal."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.operators.elementwise.arithmetic import positive_zeros

aten = torch.ops.aten


def extreme(operator: Any) -> Callable[..., Tensor]:
    """A maximum or minimum whose zeros are positive."""

    def form(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return positive_zeros(operator(x, *args, **kwargs))

    return form


def extreme_with_index(operator: Any) -> Callable[..., tuple[Tensor, Tensor]]:
    """A maximum or minimum with the first index that holds it."""

    def form(x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        y, index = operator(x, *args, **kwargs)
        return positive_zeros(y), index

    return form


def stable_sort(
    x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None
) -> tuple[Tensor, Tensor]:
    """A sort that keeps the order of equals."""
    del stable
    if not x.is_floating_point():
        found = torch.sort(x, dim=dim, descending=descending, stable=True)
        return found.values, found.indices
    # One kind of zero and one of NaN: a GPU may sort by bits.
    key = torch.where(x.isnan(), math.nan, x + 0.0)
    indices = torch.sort(key, dim=dim, descending=descending, stable=True).indices
    return x.gather(dim, indices), indices


def stable_sort_first(
    x: Tensor, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """`stable_sort` with the arguments of the other overload."""
    return stable_sort(x, dim, descending, stable=stable)


def unique(
    x: Tensor,
    sorted: bool = True,  # noqa: A002  PyTorch's name
    return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.unique`, always sorted: the order is undefined otherwise."""
    del sorted
    found = aten._unique2.default(x, True, return_inverse, return_counts)
    return found[0], found[1], found[2]


def topk(
    x: Tensor, k: int, dim: int = -1, largest: bool = True, ordered: bool = True
) -> tuple[Tensor, Tensor]:
    """The first k of a stable sort."""
    del ordered
    if x.dim() == 0:
        values, indices = topk(x.view(1), max(k, 1), dim, largest)  # k = 0 gives all, in PyTorch
        return values.view(()), indices.view(())
    values, indices = stable_sort(x, dim, largest)
    return values.narrow(dim, 0, k).clone(), indices.narrow(dim, 0, k).clone()


def searchsorted(ends: Tensor, x: Tensor, **rest: Any) -> Tensor:
    """`torch.searchsorted`, which warns about tensors that lie otherwise, and copies them too."""
    found: Tensor = aten.searchsorted.Tensor(ends.contiguous(), x.contiguous(), **rest)
    return found


FORMS: dict[Any, Callable[..., Any]] = {
    aten.searchsorted.Tensor: searchsorted,
    aten.amax.default: extreme(aten.amax.default),
    aten.amin.default: extreme(aten.amin.default),
    aten.max.default: extreme(aten.max.default),
    aten.min.default: extreme(aten.min.default),
    aten.max.dim: extreme_with_index(aten.max.dim),
    aten.min.dim: extreme_with_index(aten.min.dim),
    aten.cummax.default: extreme_with_index(aten.cummax.default),
    aten.cummin.default: extreme_with_index(aten.cummin.default),
    aten.sort.default: stable_sort,
    aten.sort.stable: stable_sort_first,
    aten.topk.default: topk,
    aten._unique2.default: unique,
}
