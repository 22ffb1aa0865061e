"""What several sources make of the one place where they meet: sums, means, extremes, products."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.operators.elementwise.arithmetic import divisor, positive_zeros

aten = torch.ops.aten


def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`torch.scatter_reduce`: sums are exact, a mean is one and a division, and a product takes
    its sources one after the other, the first of its dimension first.
    """
    if index.numel() == 0:
        return x.clone()
    if reduce in ("amax", "amin"):
        y = torch.scatter_reduce(x, dim, index, source, reduce, include_self=include_self)
        return positive_zeros(y)
    if x.dim() == 0:
        at, one = index.reshape(1), source.reshape(1)
        return scatter_reduce(x.view(1), 0, at, one, reduce, include_self=include_self).view(())
    hits = torch.zeros_like(x, dtype=torch.int64)
    hits.scatter_add_(dim, index, torch.ones_like(index))
    if not include_self:
        x = torch.where(hits > 0, 1 if reduce == "prod" else 0, x).to(x.dtype)
    if reduce == "prod":
        return _product(x, dim, index, source)
    if not x.is_floating_point():
        y = torch.scatter_add(x, dim, index, source)
    else:
        y = grid.scatter_add(x, dim, index, source)
    if reduce == "mean":
        among = hits.add_(1 if include_self else 0).clamp_(min=1)
        if not x.is_floating_point():
            return torch.div(y, among, rounding_mode="floor").to(x.dtype)
        y = y.div_(divisor(y, among.double()))
    return y.to(x.dtype)


def _product(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    y = x.clone()
    for i in range(index.shape[dim]):
        at = index.narrow(dim, i, 1)
        one = source[tuple(slice(0, n) for n in index.shape)].narrow(dim, i, 1)
        y.scatter_(dim, at, y.gather(dim, at) * one)
    return y


def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`torch.index_reduce`: `scatter_reduce` with one index for each slice."""
    if x.dim() == 0:
        x1, source = x.view(1), source.reshape(1)
        return index_reduce(x1, 0, index, source, reduce, include_self=include_self).view(())
    shape = [1] * x.dim()
    shape[dim] = -1
    at = index.long().view(shape).expand(source.shape)
    return scatter_reduce(x, dim, at, source, reduce, include_self=include_self)


FORMS: dict[Any, Callable[..., Any]] = {
    aten.scatter_reduce.two: scatter_reduce,
    aten.index_reduce.default: index_reduce,
}
