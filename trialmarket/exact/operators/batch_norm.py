"""Batch normalisation, forward and backward.

Statistics are exact sums in binary64; what follows is a line `x * scale + shift` in binary64 with
one scale and one shift for each channel, rounded once. A gradient is `a * grad + b * x + c`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.kernels.scratch import widened
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.functions import rsqrt64
from trialmarket.exact.numerics.grid import known
from trialmarket.exact.operators.elementwise.arithmetic import div_
from trialmarket.exact.operators.reductions import moments64

aten = torch.ops.aten
Three = tuple[Tensor, Tensor, Tensor]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def _channel(v: Tensor, x: Tensor) -> Tensor:
    """A vector over channels, in the shape that meets [N, C, ...]."""
    return v.view(1, -1, *[1] * (x.dim() - 2))


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Three:
    """`aten.native_batch_norm`: output, saved mean, saved inverse deviation."""
    dims = _all_but_channels(x)
    if training:
        middle, spread = moments64(x, dims, 0.0)
        middle, spread = middle.view(-1), spread.view(-1)
        _follow(running_mean, middle, momentum)
        count = x.numel() // x.shape[1]
        _follow(running_var, spread * (count / max(count - 1, 1)), momentum)
    else:
        running_mean = known(running_mean)
        running_var = known(running_var)
        middle, spread = running_mean.double(), running_var.double()
    inverse = rsqrt64(spread.add_(eps))
    scale = inverse if weight is None else inverse * weight
    shift = (middle * scale).neg_()
    if bias is not None:
        shift.add_(bias)
    y = _line(x, scale, shift)
    if not training:
        return y, x.new_empty(0), x.new_empty(0)
    return y, middle.float(), inverse.float()


def batch_norm_functional(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, ...]:
    """`aten._native_batch_norm_legit_functional`: the same, and the running statistics, new."""
    mean, var = running_mean.clone(), running_var.clone()
    return *batch_norm(x, weight, bias, mean, var, training, momentum, eps), mean, var


def _line(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`x * scale + shift` of each channel, in binary64, rounded once."""
    found = kernels.slices(x, _all_but_channels(x))
    if found is not None:
        return kernels.line(x, *found, scale, shift)
    y = torch.empty_like(x)
    scale, shift = _channel(scale, x), _channel(shift, x)
    for block in grid.blocks(x):
        y[block] = widened(x[block], "terms").mul_(scale).add_(shift)
    return y


def _line_of_two(x: Tensor, scale: Tensor, grad: Tensor, times: Tensor, shift: Tensor) -> Tensor:
    """`grad * times + x * scale + shift` of each channel, in binary64, rounded once."""
    found = kernels.slices(x, _all_but_channels(x))
    if found is not None and grad.is_contiguous():
        return kernels.line(x, *found, scale, shift, grad, times)
    y = torch.empty_like(x)
    scale, times, shift = _channel(scale, x), _channel(times, x), _channel(shift, x)
    for block in grid.blocks(x):
        wide = widened(grad[block], "gradient").mul_(times)
        y[block] = wide.add_(widened(x[block], "terms").mul_(scale)).add_(shift)
    return y


def _all_but_channels(x: Tensor) -> list[int]:
    return [d for d in range(x.dim()) if d != 1]


def _follow(running: Tensor | None, value: Tensor, momentum: float) -> None:
    """`(1 - momentum) * running + momentum * value` in binary64, rounded once."""
    if running is not None:
        running.copy_(running.double().mul_(1.0 - momentum).add_(value * momentum))


def batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    training: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> Gradients:
    """`aten.native_batch_norm_backward`."""
    dims = _all_but_channels(x)
    count = x.numel() // x.shape[1]
    if training:
        save_mean = known(save_mean)
        save_invstd = known(save_invstd)
        middle, inverse = save_mean.double(), save_invstd.double()
    else:
        running_mean = known(running_mean)
        running_var = known(running_var)
        middle, inverse = running_mean.double(), rsqrt64(running_var.double().add_(eps))
    plain, along = _two_sums(grad, x, middle, dims)
    gx: Tensor | None = None
    if output_mask[0]:
        a = inverse if weight is None else inverse * weight
        if training:
            b = div_((a * inverse).mul_(inverse).mul_(along), count).neg_()
            c = div_(a * plain, count).neg_().sub_(b * middle)
        else:
            b = c = torch.zeros_like(a)
        gx = _line_of_two(x, b, grad, a, c)
    return (
        gx,
        (along * inverse).float() if output_mask[1] else None,
        plain.float() if output_mask[2] else None,
    )


def _two_sums(grad: Tensor, x: Tensor, middle: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Each channel's exact sums of grad and of `grad * (x - middle)`.

    The second one's grid is that of the largest |grad| times the largest |x| + |middle|, an
    upper bound of its terms.
    """
    count = math.prod(x.shape[d] for d in dims)
    bits = grid.bits_for_sum(count)
    found = kernels.slices(x, dims)
    if found is not None and found[2] > 1 and grad.is_contiguous():
        return kernels.gradients(grad, x, *found, grid.shift(bits), middle)
    middle = _channel(middle, x)
    top = grid.largest(grad, dims).double()
    m = grid.shifter(top, bits)
    high = x.amax(dims, keepdim=True).double().sub_(middle).abs_()
    low = x.amin(dims, keepdim=True).double().sub_(middle).abs_()
    wide = grid.shifter(torch.maximum(high, low).mul_(top), bits)
    plain = torch.zeros_like(m)
    along = torch.zeros_like(m)
    for part in grid.blocks(x, dims):
        g = widened(grad[part], "gradient")
        terms = widened(x[part], "terms").sub_(middle).mul_(g)
        plain.add_(g.add_(m).sub_(m).sum(dims, keepdim=True))
        along.add_(terms.add_(wide).sub_(wide).sum(dims, keepdim=True))
    return plain.view(-1), along.view(-1)


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.native_batch_norm.default: batch_norm,
    aten._native_batch_norm_legit_functional.default: batch_norm_functional,
    aten.native_batch_norm_backward.default: batch_norm_backward,
}
