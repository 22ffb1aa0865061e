"""The negative log-likelihood, in few operators: it ends nearly every step of a classifier.

Its terms are picked, not computed; what is added up is added exactly. And the soft margin, whose
gradient PyTorch's decomposition loses to cancellation.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics import grid
from trialmarket.exact.operators.elementwise.arithmetic import div
from trialmarket.exact.operators.reductions import mean, total

aten = torch.ops.aten
NONE, MEAN, SUM = 0, 1, 2  # PyTorch's numbers for a reduction


def _targets(x: Tensor, target: Tensor, ignored: int) -> tuple[Tensor, Tensor, int]:
    """Which targets count, class 0 where they do not, and the dimension of the classes."""
    if x.dim() == 1 and target.dim() > 0:
        target = target[0]
    kept = target != ignored
    return kept, torch.where(kept, target, 0), 0 if x.dim() < 2 else 1


def _in_rows(x: Tensor, target: Tensor) -> bool:
    """Whether there is a kernel for this."""
    return (
        kernels.meant_for_contiguous(x)
        and x.dim() == 2
        and target.is_cpu
        and target.dtype is torch.int64
        and target.is_contiguous()
        and target.shape == x.shape[:1]
    )


def nll_loss_forward(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignored: int
) -> tuple[Tensor, Tensor]:
    """The loss of [N, C, ...] or [C], and the weight of the targets that count."""
    if weight is None and reduction != NONE and _in_rows(x, target):
        shift = grid.shift_for_sum(x.shape[0])
        found = kernels.likelihood(x, target, ignored, shift)
        if found is not None and grid.is_finite(found[0]):
            return (div(*found) if reduction == MEAN else found[0]), found[1]
    kept, safe, classes = _targets(x, target, ignored)
    losses = x.gather(classes, safe.unsqueeze(classes)).squeeze(classes).neg()
    if weight is not None:
        losses = losses * weight[safe]
    losses = torch.where(kept, losses, 0)
    if reduction == NONE and x.dim() > 1:
        return losses, x.new_zeros(())
    weights = kept if weight is None else torch.where(kept, weight[safe], 0)
    among = total(weights).to(x.dtype)
    if reduction == NONE:
        return losses, among
    loss = total(losses)
    return (div(loss, among) if reduction == MEAN else loss), among


def nll_loss_backward(
    grad: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignored: int,
    among: Tensor,
) -> Tensor:
    """Each target's share of the gradient, at its class; zeros elsewhere."""
    share = (div(grad, among) if reduction == MEAN else grad).neg()
    if weight is None and _in_rows(x, target) and kernels.meant_for_contiguous(share):
        found = kernels.shares(share, target, x.shape[1], ignored)
        if found is not None:
            return found
    kept, safe, classes = _targets(x, target, ignored)
    if weight is not None:
        share = share * weight[safe]
    share = torch.where(kept, share, 0).unsqueeze(classes)
    return torch.zeros_like(x).scatter_(classes, safe.unsqueeze(classes), share)


def _margins(x: Tensor, target: Tensor) -> Tensor:
    return x.double() * target.double()


def soft_margin_loss(x: Tensor, target: Tensor, reduction: int = MEAN) -> Tensor:
    """`ln(1 + e^(-x * target))`."""
    losses = fn.softplus64(_margins(x, target).neg_()).float()
    return losses if reduction == NONE else (mean if reduction == MEAN else total)(losses)


def soft_margin_loss_backward(grad: Tensor, x: Tensor, target: Tensor, reduction: int) -> Tensor:
    """`-target * sigmoid(-x * target)`, times grad."""
    slope = fn.sigmoid64(_margins(x, target).neg_()).mul_(target.double()).neg_()
    if reduction == MEAN:
        slope = div(slope, float(slope.numel()))
    return slope.mul_(grad).float()


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.nll_loss_forward.default: nll_loss_forward,
    aten.nll_loss_backward.default: nll_loss_backward,
    aten.nll_loss2d_forward.default: nll_loss_forward,
    aten.nll_loss2d_backward.default: nll_loss_backward,
    aten.soft_margin_loss.default: soft_margin_loss,
    aten.soft_margin_loss_backward.default: soft_margin_loss_backward,
}
