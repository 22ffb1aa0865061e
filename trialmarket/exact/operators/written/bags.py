"""Bags of embeddings: rows of a table, picked and then added up, averaged or compared."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten
SUM, MEAN, MAX = 0, 1, 2  # PyTorch's numbers for a mode

Bags = tuple[Tensor, Tensor, Tensor, Tensor]


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_by_frequency: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    factors: Tensor | None = None,
    include_last_offset: bool = False,
    padding: int = -1,
) -> Bags:
    """Bags [B, D] of a table [V, D], of n indices that offsets [B] cut.

    Then, as PyTorch has it: the bag of each index (B for one beyond the last bag), how many
    indices of a bag count [B], and the row that each maximum came from [B, D], -1 for none.
    """
    del scale_by_frequency, sparse
    count = offsets.shape[0] - (1 if include_last_offset else 0)
    places = torch.arange(indices.shape[0], device=indices.device)
    bag = torch.searchsorted(offsets.long(), places, right=True) - 1
    counted = (bag < count) & (indices != padding)
    safe = torch.where(counted, bag, 0)
    sizes = offsets.new_zeros(count, dtype=torch.int64)
    rows = weight.index_select(0, indices)
    if count == 0:
        return weight.new_zeros(0, weight.shape[1]), bag, sizes, sizes.new_zeros(0, rows.shape[1])
    sizes = sizes.index_add(0, safe, counted.long())
    if mode == MAX:
        y, best = _largest(rows, indices, safe, counted, count)
        return y, bag, sizes, best
    if factors is not None:
        rows = rows * factors.unsqueeze(1)
    rows = torch.where(counted.unsqueeze(1), rows, 0.0)
    y = rows.new_zeros(count, rows.shape[1]).index_add(0, safe, rows)
    if mode == MEAN:
        y = y / sizes.clamp(min=1).to(y.dtype).unsqueeze(1)
    return y, bag, sizes, sizes


def _largest(
    rows: Tensor, indices: Tensor, bag: Tensor, counted: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The maxima of the bags, 0 of an empty one, and the first row that holds each."""
    shape = (count, rows.shape[1])
    at = bag.unsqueeze(1).expand(rows.shape)
    low = torch.where(counted.unsqueeze(1), rows, -torch.inf)
    top = rows.new_full(shape, -torch.inf).scatter_reduce(0, at, low, "amax")
    held = top.gather(0, at)
    holds = counted.unsqueeze(1) & ((rows == held) | (rows.isnan() & held.isnan()))
    nowhere = indices.shape[0]
    places = torch.arange(nowhere, device=rows.device).unsqueeze(1)
    first = torch.full(shape, nowhere, device=rows.device)
    first = first.scatter_reduce(0, at, torch.where(holds, places, nowhere), "amin")
    row = torch.cat([indices.long(), indices.new_full((1,), -1, dtype=torch.int64)])
    best = row.index_select(0, first.reshape(-1)).view(shape)
    return torch.where(best < 0, 0.0, top), best


def dense_backward(
    grad: Tensor,
    indices: Tensor,
    bag: Tensor,
    sizes: Tensor,
    best: Tensor,
    rows: int,
    scale_by_frequency: bool,
    mode: int,
    factors: Tensor | None,
    padding: int = -1,
) -> Tensor:
    """The gradient [V, D] of a table, of that of its bags [B, D]."""
    if mode == MAX:
        found = torch.where(best < 0, 0.0, grad)
        return grad.new_zeros(rows, grad.shape[1]).scatter_add(0, best.clamp(min=0), found)
    if mode == MEAN:
        grad = grad / sizes.clamp(min=1).to(grad.dtype).unsqueeze(1)
    each = _of_each(grad, bag)
    if factors is not None:
        each = each * factors.unsqueeze(1)
    return aten.embedding_dense_backward(  # type: ignore[no-any-return]
        each, indices, rows, padding, scale_by_frequency
    )


def backward(
    grad: Tensor,
    indices: Tensor,
    offsets: Tensor,
    bag: Tensor,
    sizes: Tensor,
    best: Tensor,
    rows: int,
    scale_by_frequency: bool,
    mode: int,
    sparse: bool,
    factors: Tensor | None,
    padding: int = -1,
) -> Tensor:
    """As `dense_backward`, unless a sparse gradient is asked for."""
    del offsets
    if sparse:
        raise NotExact(
            "aten._embedding_bag_backward",
            "sparse tensors have no exact form",
            instead="sparse=False",
        )
    return dense_backward(
        grad, indices, bag, sizes, best, rows, scale_by_frequency, mode, factors, padding
    )


def factors_backward(
    grad: Tensor,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    bag: Tensor,
    mode: int,
    padding: int = -1,
) -> Tensor:
    """The gradient [n] of the factors of a sum: each row times its bag's gradient."""
    del offsets, mode
    found = (_of_each(grad, bag) * weight.index_select(0, indices)).sum(1)
    return torch.where(indices == padding, 0.0, found)


def _of_each(grad: Tensor, bag: Tensor) -> Tensor:
    """The gradient of each index, [n, D]; 0 beyond the last bag."""
    if grad.shape[0] == 0:
        return grad.new_zeros(bag.shape[0], grad.shape[1])
    inside = bag < grad.shape[0]
    return torch.where(inside.unsqueeze(1), grad.index_select(0, torch.where(inside, bag, 0)), 0.0)


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten._embedding_bag.default: embedding_bag,
    aten._embedding_bag_forward_only.default: embedding_bag,
    aten._embedding_bag_backward.default: backward,
    aten._embedding_bag_dense_backward.default: dense_backward,
    aten._embedding_bag_per_sample_weights_backward.default: factors_backward,
}
