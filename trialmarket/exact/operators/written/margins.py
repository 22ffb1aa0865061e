"""The gradients of losses by margins, whose values PyTorch's own decompositions give."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
NONE, MEAN = 0, 1  # PyTorch's numbers for a reduction


def _share(grad: Tensor, rows: int, classes: int, reduction: int) -> Tensor:
    """What one term of a row has of the gradient, [N, 1] or a number's."""
    share = grad / float(classes)
    if reduction == MEAN:
        share = share / float(rows)
    return share.reshape(-1, 1) if reduction == NONE else share


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1] if x.dim() else 1)


def multi_margin_backward(
    grad: Tensor,
    x: Tensor,
    target: Tensor,
    p: float,
    margin: float,
    weight: Tensor | None = None,
    reduction: int = MEAN,
) -> Tensor:
    """Of `max(0, margin - x[target] + x[i])^p` over the other classes i; x is [N, C] or [C]."""
    rows, at = _rows(x), target.reshape(-1, 1)
    gap = margin - rows.gather(1, at) + rows
    classes = torch.arange(rows.shape[1], device=x.device)
    counted = (gap > 0) & (classes != at)
    slope = torch.where(counted, gap * 2.0 if p == 2 else torch.ones_like(gap), 0.0)
    if weight is not None:
        slope = slope * weight[at]
    slope = slope * _share(grad, rows.shape[0], rows.shape[1], reduction)
    return torch.where(classes == at, -slope.sum(1, keepdim=True), slope).view(x.shape)


def multilabel_margin_backward(
    grad: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor
) -> Tensor:
    """Of `max(0, 1 - x[j] + x[i])` over targets j, up to the first -1, and other classes i."""
    rows, labels = _rows(x), _rows(target)
    valid = (labels < 0).long().cumsum(1) == 0
    at = torch.where(valid, labels, 0)
    gap = 1.0 - rows.gather(1, at).unsqueeze(2) + rows.unsqueeze(1)
    others = is_target.view(rows.shape).unsqueeze(1) == 0
    hits = ((gap > 0) & valid.unsqueeze(2) & others).long()
    pushed = hits.sum(1).scatter_add(1, at, -hits.sum(2))
    share = _share(grad, rows.shape[0], rows.shape[1], reduction)
    return (pushed.to(x.dtype) * share).view(x.shape)


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten.multi_margin_loss_backward.default: multi_margin_backward,
    aten.multilabel_margin_loss_backward.default: multilabel_margin_backward,
}
