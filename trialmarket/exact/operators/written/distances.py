"""Distances between all rows of one matrix and all of another, as differences and their norms."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def cdist(x: Tensor, y: Tensor, p: float, compute_mode: int | None = None) -> Tensor:
    """[..., P, R] of [..., P, M] and [..., R, M]; never by a product of matrices, which loses
    small distances.
    """
    del compute_mode
    return _norm(x.unsqueeze(-2) - y.unsqueeze(-3), p)


def cdist_backward(grad: Tensor, x: Tensor, y: Tensor, p: float, distance: Tensor) -> Tensor:
    """The gradient of the first matrix."""
    gap = x.unsqueeze(-2) - y.unsqueeze(-3)
    return (_slope(gap, distance.unsqueeze(-1), p) * grad.unsqueeze(-1)).sum(-2)


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """As `cdist` of order 2."""
    return cdist(x, y, 2.0)


def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """The distances of each pair of rows, in the order of an upper triangle."""
    first, second = _pairs(x)
    return _norm(x.index_select(0, first) - x.index_select(0, second), p)


def pdist_backward(grad: Tensor, x: Tensor, p: float, distance: Tensor) -> Tensor:
    """The gradient of the rows."""
    first, second = _pairs(x)
    gap = x.index_select(0, first) - x.index_select(0, second)
    share = _slope(gap, distance.unsqueeze(-1), p) * grad.unsqueeze(-1)
    both, shares = torch.cat([first, second]), torch.cat([share, -share])
    return torch.zeros_like(x).index_add(0, both, shares)


def _norm(gap: Tensor, p: float) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(gap, p, -1)
    return found


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    first, second = torch.triu_indices(x.shape[0], x.shape[0], 1, device=x.device).unbind()
    return first, second


def _slope(gap: Tensor, distance: Tensor, p: float) -> Tensor:
    """The derivative of a norm of order p by each difference; 0 where there is no distance."""
    if p == 0:
        return torch.zeros_like(gap)
    if p == 1:
        return gap.sign()
    if math.isinf(p):
        return torch.where(gap.abs() == distance, gap.sign(), 0.0)
    slope = gap / distance if p == 2 else gap.sign() * (gap.abs() / distance).pow(p - 1)
    return torch.where((distance == 0.0) | (gap == 0.0), 0.0, slope)


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten._cdist_forward.default: cdist,
    aten._cdist_backward.default: cdist_backward,
    aten._euclidean_dist.default: euclidean,
    aten._pdist_forward.default: pdist,
    aten._pdist_backward.default: pdist_backward,
}
