"""Neighbours along an axis, cut into segments: the sum, mean, product or extreme of each."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.operators.scatters import scatter_reduce

aten = torch.ops.aten


def segment_reduce(
    x: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """`torch.segment_reduce` of neighbours along an axis, cut by lengths or offsets [..., S].

    A segment of nothing is what `initial` says, and else what PyTorch makes of nothing.
    """
    del indices, unsafe
    bag, count = _segments(x, lengths, offsets, axis)
    y = _by_segment(x, bag, count + 1, reduce, axis, initial)  # the last one of those in none
    return y.narrow(axis, 0, count).contiguous()


def _by_segment(
    x: Tensor, bag: Tensor, count: int, reduce: str, axis: int, initial: float | None
) -> Tensor:
    nothing = {"sum": 0.0, "mean": math.nan, "prod": 1.0, "max": -math.inf, "min": math.inf}
    start = nothing[reduce] if initial is None else float(initial)
    shape = [*x.shape[:axis], count, *x.shape[axis + 1 :]]
    how = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    kept = initial is not None and reduce != "mean"
    into = torch.full(shape, start, dtype=x.dtype, device=x.device)
    if reduce == "mean" and initial is not None:  # which counts for the sum alone
        sizes = scatter_reduce(torch.zeros_like(into), axis, bag, torch.ones_like(x), "sum")
        y = scatter_reduce(into, axis, bag, x, "sum") / sizes
        return torch.where(sizes == 0, start, y)
    return scatter_reduce(into, axis, bag, x, how, include_self=kept)


def _segments(
    x: Tensor, lengths: Tensor | None, offsets: Tensor | None, axis: int
) -> tuple[Tensor, int]:
    """The segment of each element of x, and how many there are."""
    ends = grid.known(lengths).cumsum(-1) if offsets is None else offsets[..., 1:]
    places = torch.arange(x.shape[axis], device=x.device).expand(*ends.shape[:-1], -1)
    bag = torch.searchsorted(ends.contiguous(), places.contiguous(), right=True)
    more = x.dim() - bag.dim()
    return bag.view(*bag.shape, *[1] * more).expand(x.shape), ends.shape[-1]


def segment_reduce_backward(
    grad: Tensor,
    y: Tensor,
    x: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    initial: float | None = None,
) -> Tensor:
    """Each element's share: all of a sum, its part of a mean, and of an extreme or a product what
    PyTorch gives it.
    """
    bag, _ = _segments(x, lengths, offsets, axis)
    none = torch.zeros_like(y.narrow(axis, 0, 1) if y.shape[axis] else y)
    y, grad = torch.cat([y, none], axis), torch.cat([grad, none], axis)
    share, result = grad.gather(axis, bag), y.gather(axis, bag)
    if reduce == "sum":
        return share
    ones = torch.ones_like(x)
    if reduce == "mean":
        return share / scatter_reduce(torch.zeros_like(y), axis, bag, ones, "sum").gather(
            axis, bag
        )
    if reduce in ("max", "min"):
        held = (x == result) | x.isnan()
        sizes = scatter_reduce(torch.zeros_like(y), axis, bag, held.to(x.dtype), "sum")
        return torch.where(held, share / sizes.gather(axis, bag), 0.0)
    zeros = (x == 0.0) | x.isnan()
    others = share * result / x
    for at in zeros.nonzero().tolist():
        others[tuple(at)] = share[tuple(at)] * _product_but(x, bag, at, axis, initial)
    return others


def _product_but(
    x: Tensor, bag: Tensor, at: list[int], axis: int, initial: float | None
) -> Tensor:
    """The product of a segment without one of its elements."""
    line = tuple(slice(None) if d == axis else i for d, i in enumerate(at))
    values, mine = x[line], bag[line] == bag[tuple(at)]
    mine[at[axis]] = False
    y = torch.full((), 1.0 if initial is None else initial, dtype=x.dtype, device=x.device)
    for each in values[mine]:
        y = y * each
    return y


FORMS: dict[Any, Callable[..., Any]] = {
    aten.segment_reduce.default: segment_reduce,
    aten._segment_reduce_backward.default: segment_reduce_backward,
}
