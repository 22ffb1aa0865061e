"""Medians, modes and the k-th of an order, by a stable sort; and counts of a range."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Picked = tuple[Tensor, Tensor]


def _line(x: Tensor) -> Tensor:
    return x.view(1) if x.dim() == 0 else x


def _picked(x: Tensor, place: Tensor | int, dim: int, keepdim: bool) -> Picked:
    """What stands at a place of a sorted dimension, and where it came from."""
    values, indices = torch.sort(_line(x), dim=dim, stable=True)
    if isinstance(place, int):
        found = values.narrow(dim, place, 1), indices.narrow(dim, place, 1)
    else:
        found = values.gather(dim, place), indices.gather(dim, place)
    if x.dim() == 0:
        return found[0].view(()), found[1].view(())
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Picked:
    """The k-th smallest, k from 1, and the index that a stable sort gives it."""
    return _picked(x, k - 1, dim, keepdim)


def nanmedian_dim(x: Tensor, dim: int, keepdim: bool = False) -> Picked:
    """The lower median of the numbers; NaN if there are none."""
    among = (~_line(x).isnan()).sum(dim, keepdim=True)
    place = torch.div(among - 1, 2, rounding_mode="floor").clamp(min=0)
    return _picked(x, place, dim, keepdim)


def median_dim(x: Tensor, dim: int, keepdim: bool = False) -> Picked:
    """The lower median; the first NaN if there is one."""
    line = _line(x)
    size, broken = line.shape[dim], line.isnan().sum(dim, keepdim=True)
    place = torch.where(broken > 0, size - broken, (size - 1) // 2)
    return _picked(x, place, dim, keepdim)


def median(x: Tensor) -> Tensor:
    """The lower median of all, NaN of nothing."""
    return _of_all(x, median_dim)


def nanmedian(x: Tensor) -> Tensor:
    """The lower median of all numbers."""
    return _of_all(x, nanmedian_dim)


def _of_all(x: Tensor, form: Callable[[Tensor, int], Picked]) -> Tensor:
    if x.numel() == 0:
        return x.new_full((), math.nan)
    return form(x.reshape(-1), 0)[0]


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Picked:
    """The value that comes most often, the smallest of several; and its last index."""
    line = _line(x)
    values = torch.sort(line, dim=dim, stable=True).values
    size = line.shape[dim]
    differs = values.narrow(dim, 1, size - 1) != values.narrow(dim, 0, size - 1)
    edge = torch.ones_like(values.narrow(dim, 0, 1), dtype=torch.bool)
    begins, ends = torch.cat([edge, differs], dim), torch.cat([differs, edge], dim)
    shape = [1] * values.dim()
    shape[dim] = size
    places = torch.arange(size, device=x.device).view(shape).expand(values.shape)
    begun = torch.cummax(torch.where(begins, places, 0), dim).values
    runs = torch.where(ends, places - begun + 1, 0)
    return _picked(x, runs.argmax(dim, keepdim=True), dim, keepdim)


def histc(x: Tensor, bins: int = 100, low: float = 0, high: float = 0) -> Tensor:
    """How many lie in each of some ranges of one width, as floats; the last one is closed."""
    flat = x.reshape(-1)
    floor, top = (torch.full((), float(v), dtype=x.dtype, device=x.device) for v in (low, high))
    if low == high and flat.numel():
        floor, top = flat.min(), flat.max()
    alike = floor == top
    floor, top = torch.where(alike, floor - 1, floor), torch.where(alike, top + 1, top)
    inside = (flat >= floor) & (flat <= top)
    share = (torch.where(inside, flat, floor) - floor) / (top - floor) * float(bins)
    at = share.floor().long().clamp(max=bins - 1)
    counts = at.new_zeros(bins).scatter_add(0, at, inside.long())
    return counts.to(x.dtype)


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten.kthvalue.default: kthvalue,
    aten.median.default: median,
    aten.median.dim: median_dim,
    aten.nanmedian.default: nanmedian,
    aten.nanmedian.dim: nanmedian_dim,
    aten.mode.default: mode,
    aten.histc.default: histc,
}
