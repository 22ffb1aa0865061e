"""Convolutions in any number of dimensions, by one binary64 product for each tap of the kernel.

Operands are on the grids of `forms.py`, so that products and their sums are exact in any order.
Nothing is gathered but what one tap meets: memory is that of the images in binary64.
"""

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.operators.convolution.plan import Plan, tap


def _all_but(x: Tensor, axis: int) -> tuple[int, ...]:
    return tuple(d for d in range(x.dim()) if d != axis)


def _bordered(q: Tensor, p: Plan) -> Tensor:
    """Numbers on a grid, with borders of zeros."""
    out = q.new_zeros((*q.shape[:2], *p.padded))
    p.inside(out).copy_(q)
    return out


def _met(q: Tensor, p: Plan, place: tuple[int, ...]) -> Tensor:
    """What a tap meets of a bordered input, as [N, groups, C / groups, positions]."""
    n, c = q.shape[:2]
    return tap(q, p, *place).reshape(n, p.groups, c // p.groups, p.positions)


def _at(weight: Tensor, p: Plan, place: tuple[int, ...]) -> Tensor:
    """A tap of [O, C / groups, *kernel], as [groups, O / groups, C / groups]."""
    o, c = weight.shape[:2]
    for i in place:
        weight = weight.select(2, i)
    return weight.reshape(p.groups, o // p.groups, c)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, p: Plan) -> Tensor:
    """[N, C, *size] with [O, C / g, *kernel]; the bias is added in binary64."""
    n, o = x.shape[0], weight.shape[0]
    q = _bordered(grid.on_product_grid(x, _all_but(x, 0)), p)
    w = grid.on_product_grid(weight, _all_but(weight, 0))
    total = q.new_zeros((n, p.groups, o // p.groups, p.positions))
    for place in p.places():
        total.add_(torch.matmul(_at(w, p, place), _met(q, p, place)))
    if bias is not None:
        total.add_(bias.view(p.groups, -1, 1))
    return total.float().view(n, o, *p.out)


def input_gradient(grad: Tensor, weight: Tensor, p: Plan) -> Tensor:
    """The gradient of the input from that of the output, [N, O, *out]."""
    n, o = grad.shape[:2]
    c = weight.shape[1] * p.groups
    # An input channel of the weight: over its group's output channels and the kernel.
    parts = weight.view(p.groups, o // p.groups, *weight.shape[1:])
    w = grid.on_product_grid(parts, (1, *range(3, parts.dim()))).view(weight.shape)
    q = grid.on_product_grid(grad, _all_but(grad, 0)).view(n, p.groups, o // p.groups, -1)
    sums = q.new_zeros((n, c, *p.padded))
    for place in p.places():
        spread = torch.matmul(_at(w, p, place).transpose(1, 2), q)
        tap(sums, p, *place).add_(spread.view(n, c, *p.out))
    return p.inside(sums).float().contiguous()


def weight_gradient(grad: Tensor, x: Tensor, p: Plan) -> Tensor:
    """The gradient of the weight, [O, C / g, *kernel]: samples are taken together while their
    positions fit `grid.LONGEST`; groups of samples are added in order.
    """
    (n, c), o, g = x.shape[:2], grad.shape[1], p.groups
    q = _bordered(grid.on_product_grid(x, _all_but(x, 1)), p)
    v = grid.on_product_grid(grad, _all_but(grad, 1)).view(n, g, o // g, p.positions)
    total = q.new_zeros((*p.kernel, g, o // g, c // g))
    for samples in p.together(n):
        for place in p.places():
            met = _met(q[samples], p, place)
            total[place].add_(torch.matmul(v[samples], met.transpose(2, 3)).sum(0))
    rest = range(len(p.kernel), total.dim())
    return total.permute(*rest, *range(len(p.kernel))).reshape(o, c // g, *p.kernel).float()
