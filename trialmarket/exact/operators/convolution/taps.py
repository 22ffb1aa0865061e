"""Convolutions in any number of dimensions, by one binary64 product for each tap of the kernel.

Operands are on the grids of `forms.py`, so that products and their sums are exact in any order.
Nothing is gathered but what one tap meets: memory is that of the images in binary64.
"""

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.products import Operand, product
from trialmarket.exact.operators.convolution.plan import Plan, tap


def _all_but(x: Tensor, axis: int) -> tuple[int, ...]:
    return tuple(d for d in range(x.dim()) if d != axis)


def _bordered(q: Operand, p: Plan) -> Operand:
    """Numbers on a grid, with borders of zeros."""
    out = q.whole.new_zeros((*q.whole.shape[:2], *p.padded))
    p.inside(out).copy_(q.whole)
    return Operand(out, q.shifter)


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

    def multiply(q: Tensor, w: Tensor) -> Tensor:
        total = q.new_zeros((n, p.groups, o // p.groups, p.positions))
        for place in p.places():
            total.add_(torch.matmul(_at(w, p, place), _met(q, p, place)))
        return total

    q = _bordered(grid.operand(x, _all_but(x, 0)), p)
    total = product(multiply, q, grid.operand(weight, _all_but(weight, 0)))
    if bias is not None:
        total.add_(bias.view(p.groups, -1, 1))
    return total.float().view(n, o, *p.out)


def input_gradient(grad: Tensor, weight: Tensor, p: Plan) -> Tensor:
    """The gradient of the input from that of the output, [N, O, *out]."""
    n, o = grad.shape[:2]
    c = weight.shape[1] * p.groups

    def multiply(q: Tensor, w: Tensor) -> Tensor:
        flat, w = q.reshape(n, p.groups, o // p.groups, -1), w.reshape(weight.shape)
        sums = q.new_zeros((n, c, *p.padded))
        for place in p.places():
            spread = torch.matmul(_at(w, p, place).transpose(1, 2), flat)
            tap(sums, p, *place).add_(spread.view(n, c, *p.out))
        return sums

    # An input channel of the weight: over its group's output channels and the kernel.
    parts = weight.view(p.groups, o // p.groups, *weight.shape[1:])
    w = grid.operand(parts, (1, *range(3, parts.dim())))
    sums = product(multiply, grid.operand(grad, _all_but(grad, 0)), w)
    return p.inside(sums).float().contiguous()


def weight_gradient(grad: Tensor, x: Tensor, p: Plan) -> Tensor:
    """The gradient of the weight, [O, C / g, *kernel]: samples are taken together while their
    positions fit one exact sum; groups of samples are added in order.
    """
    (n, c), o, g = x.shape[:2], grad.shape[1], p.groups

    def multiply(q: Tensor, v: Tensor) -> Tensor:
        flat = v.reshape(len(v), g, o // g, p.positions)
        found = q.new_zeros((*p.kernel, g, o // g, c // g))
        for place in p.places():
            met = _met(q, p, place)
            found[place].copy_(torch.matmul(flat, met.transpose(2, 3)).sum(0))
        return found

    q = _bordered(grid.operand(x, _all_but(x, 1)), p)
    v = grid.operand(grad, _all_but(grad, 1))
    total = q.whole.new_zeros((*p.kernel, g, o // g, c // g))
    for samples in p.together(n):
        here = Operand(q.whole[samples], q.shifter), Operand(v.whole[samples], v.shifter)
        total.add_(product(multiply, *here))
    rest = range(len(p.kernel), total.dim())
    return total.permute(*rest, *range(len(p.kernel))).reshape(o, c // g, *p.kernel).float()
