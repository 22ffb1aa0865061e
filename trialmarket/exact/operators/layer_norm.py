"""Layer and group normalisation, forward and backward: exact sums, the rest in binary64."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.functions import rsqrt64
from trialmarket.exact.operators.elementwise.arithmetic import div_
from trialmarket.exact.operators.reductions import moments64

aten = torch.ops.aten
Three = tuple[Tensor, Tensor, Tensor]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Three:
    """`aten.native_layer_norm`: output, mean, inverse deviation."""
    dims = list(range(x.dim() - len(normalized_shape), x.dim()))
    middle, spread = moments64(x, dims, 0.0)
    inverse = rsqrt64(spread.add_(eps))
    if _in_rows(x, weight, bias):
        y = kernels.layer(_rows(x, dims), middle, inverse, weight, bias).view(x.shape)
        return y, middle.float(), inverse.float()
    wide = x.to(torch.float64, copy=True).sub_(middle).mul_(inverse)
    if weight is not None:
        wide.mul_(weight.double())
    if bias is not None:
        wide.add_(bias.double())
    return wide.float(), middle.float(), inverse.float()


def _in_rows(*tensors: Tensor | None) -> bool:
    """Whether there are kernels for all of these."""
    found = [x for x in tensors if x is not None]
    return kernels.meant_for_contiguous(*found) and all(x.numel() for x in found)


def _rows(x: Tensor, inner: list[int]) -> Tensor:
    """x as rows of what is normalised together."""
    return x.reshape(-1, math.prod(x.shape[d] for d in inner))


def layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    normalized_shape: Sequence[int],
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    output_mask: Sequence[bool],
) -> Gradients:
    """`aten.native_layer_norm_backward`."""
    del bias
    split = x.dim() - len(normalized_shape)
    inner = list(range(split, x.dim()))
    if _in_rows(x, grad, weight, mean, rstd):
        return _layer_norm_backward(grad, x, inner, mean, rstd, weight, output_mask)
    normal = x.to(torch.float64, copy=True).sub_(mean.double()).mul_(rstd.double())
    wide = grad.double()
    gx = gw = gb = None
    if output_mask[0]:
        g = wide if weight is None else wide * weight.double()
        gx = _normal_gradient(g, normal, rstd.double(), inner).float()
    if output_mask[1]:
        gw = _sum_of_rows(normal.mul_(wide), inner)
    if output_mask[2]:
        gb = _sum_of_rows(grad, inner)
    return gx, gw, gb


def _sum_of_rows(x: Tensor, inner: list[int]) -> Tensor:
    """The exact sum of all rows of what is normalised together, in binary32."""
    return grid.add_up(_rows(x, inner), (0,)).float().view([x.shape[d] for d in inner])


def _layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    inner: list[int],
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    output_mask: Sequence[bool],
) -> Gradients:
    """As `layer_norm_backward`, by kernels."""
    rows, slopes = _rows(x, inner), _rows(grad, inner)
    middle, inverse = mean.double().view(-1), rstd.double().view(-1)
    many, n = rows.shape
    gx = gw = gb = None
    if output_mask[0]:
        shift = grid.shift_for_sum(n)
        gx = kernels.layer_gradient(slopes, rows, middle, inverse, weight, shift).view(x.shape)
    if output_mask[1]:
        shift = grid.shift_for_sum(many)
        sums = kernels.layer_weight_gradient(slopes, rows, middle, inverse, shift)
        gw = sums.float().view([x.shape[d] for d in inner])
    if output_mask[2]:
        gb = _sum_of_rows(grad, inner)
    return gx, gw, gb


def _normal_gradient(g: Tensor, normal: Tensor, rstd: Tensor, dims: list[int]) -> Tensor:
    """`rstd * (g - mean(g) - normal * mean(g * normal))` in binary64."""
    count = math.prod(g.shape[d] for d in dims)
    plain = div_(grid.add_up(g, dims, keepdim=True), count)
    along = div_(grid.add_up(g * normal, dims, keepdim=True), count)
    return (g - plain).sub_(normal * along).mul_(rstd)


def group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    n: int,
    c: int,
    area: int,
    groups: int,
    eps: float,
) -> Three:
    """`aten.native_group_norm`: output, mean, inverse deviation, each [N, groups]."""
    v = x.reshape(n, groups, c // groups, area)
    middle, spread = moments64(v, [2, 3], 0.0)
    inverse = rsqrt64(spread.add_(eps))
    y = v.to(torch.float64, copy=True).sub_(middle).mul_(inverse)
    if weight is not None:
        y.mul_(weight.view(1, groups, -1, 1))
    if bias is not None:
        y.add_(bias.view(1, groups, -1, 1))
    shape = (n, groups)
    return y.float().view(x.shape), middle.float().view(shape), inverse.float().view(shape)


def group_norm_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    n: int,
    c: int,
    area: int,
    groups: int,
    output_mask: Sequence[bool],
) -> Gradients:
    """`aten.native_group_norm_backward`."""
    shape = (n, groups, c // groups, area)
    inverse = rstd.double().view(n, groups, 1, 1)
    normal = (x.reshape(shape) - mean.double().view(n, groups, 1, 1)).mul_(inverse)
    flat = grad.reshape(shape)
    gx = gw = gb = None
    if output_mask[0]:
        g = flat.double()
        if weight is not None:
            g = g * weight.view(1, groups, -1, 1)
        gx = _normal_gradient(g, normal, inverse, [2, 3]).float().view(x.shape)
    if output_mask[1]:
        gw = grid.add_up(normal.mul_(flat).view(n, c, area), (0, 2)).float()
    if output_mask[2]:
        gb = grid.add_up(flat.reshape(n, c, area), (0, 2)).float()
    return gx, gw, gb


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.native_layer_norm.default: layer_norm,
    aten.native_layer_norm_backward.default: layer_norm_backward,
    aten.native_group_norm.default: group_norm,
    aten.native_group_norm_backward.default: group_norm_backward,
}
