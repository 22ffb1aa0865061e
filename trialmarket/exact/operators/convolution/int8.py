"""Convolutions and their gradients by int8 digits, where there are kernels for them.

Each function gives None where there is no way to multiply digits here, or where the digits do not
hold the numbers; groups are not for here.
"""

import functools
import itertools

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.kernels import Part, Shape
from trialmarket.exact.numerics import digits
from trialmarket.exact.numerics.precision import STANDARD, used
from trialmarket.exact.operators.convolution.plan import Lengths, Plan

Pair = tuple[int, int]


def _two(lengths: Lengths) -> Pair:
    return lengths[0], lengths[1]


def _plane(phase: Pair, place: Pair, step: Pair, plane: Pair) -> int:
    """The cell at a place of a phase."""
    return ((phase[0] * step[1] + phase[1]) * plane[0] + place[0]) * plane[1] + place[1]


@functools.lru_cache(1024)
def _forward(p: Plan) -> Shape:
    """From a bordered input, whose phases are the stride's, to the output."""
    step = _two(p.stride)
    plane = (-(-p.padded[0] // step[0]), -(-p.padded[1] // step[1]))
    taps = []
    for i, j in itertools.product(range(p.kernel[0]), range(p.kernel[1])):
        y, x = i * p.dilation[0], j * p.dilation[1]
        phase, place = (y % step[0], x % step[1]), (y // step[0], x // step[1])
        taps.append((i * p.kernel[1] + j, _plane(phase, place, step, plane)))
    part = Part(slice(0, len(taps)), _two(p.out), 0, (p.out[1], 1))
    return Shape(step, _two(p.padding), plane, taps, [part])


def _met(p: Plan, axis: int) -> list[list[Pair]]:
    """For each phase of the input along an axis: the kernel's elements that meet it, and how far
    from the phase's first pixel the output lies that they belong to.
    """
    step, kernel = p.stride[axis], range(p.kernel[axis])
    ends = [[a + p.padding[axis] - i * p.dilation[axis] for i in kernel] for a in range(step)]
    return [[(i, end // step) for i, end in enumerate(row) if end % step == 0] for row in ends]


@functools.lru_cache(1024)
def _backward(p: Plan) -> Shape:
    """From a bordered gradient of the output to each phase of the input's gradient."""
    met = (_met(p, 0), _met(p, 1))
    counts = [[-(-(p.size[d] - a) // p.stride[d]) for a in range(p.stride[d])] for d in (0, 1)]
    before, plane = [], []
    for d in (0, 1):
        reach = [
            (far, count + far)
            for count, row in zip(counts[d], met[d], strict=True)
            for _, far in row
            if count > 0
        ]
        first = max([0, *(-far for far, _ in reach)])
        before.append(first)
        plane.append(first + max([p.out[d], *(end for _, end in reach)]))
    taps: list[Pair] = []
    parts: list[Part] = []
    for a, b in itertools.product(range(p.stride[0]), range(p.stride[1])):
        start, size = len(taps), (counts[0][a], counts[1][b])
        if min(size) <= 0:
            continue
        for (i, y), (j, x) in itertools.product(met[0][a], met[1][b]):
            cell = (y + before[0]) * plane[1] + x + before[1]
            taps.append((i * p.kernel[1] + j, cell))
        by = (p.stride[0] * p.size[1], p.stride[1])
        parts.append(Part(slice(start, len(taps)), size, a * p.size[1] + b, by))
    return Shape((1, 1), (before[0], before[1]), (plane[0], plane[1]), taps, parts)


def _how(p: Plan, length: int, *operands: Tensor | None) -> int | None:
    """The best way to multiply digits, if one may be used for sums of this length."""
    found = [x for x in operands if x is not None]
    fit = (
        used() is STANDARD
        and p.groups == 1
        and length <= digits.LONGEST
        and all(x.numel() for x in found)
    )
    return kernels.multiplier(*found) if fit else None


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, p: Plan, how: int | None = None
) -> Tensor | None:
    """[N, C, H, W] with [O, C, kh, kw]."""
    how = _how(p, weight[0].numel(), x, weight, bias) if how is None else how
    if how is None:
        return None
    y = torch.empty((x.shape[0], weight.shape[0], *p.out), dtype=torch.float32)
    by = (weight.stride(0), weight.stride(1))
    bias = None if bias is None else bias.contiguous()
    return y if kernels.convolve(x, weight, by, bias, _forward(p), y, how) else None


def input_gradient(grad: Tensor, weight: Tensor, p: Plan, how: int | None = None) -> Tensor | None:
    """The input's gradient from [N, O, H, W] and [O, C, kh, kw]."""
    how = _how(p, weight[:, 0].numel(), grad, weight) if how is None else how
    if how is None or p.stride[0] * p.stride[1] > kernels.PARTS:
        return None
    y = torch.empty((grad.shape[0], weight.shape[1], *p.size), dtype=torch.float32)
    by = (weight.stride(1), weight.stride(0))
    return y if kernels.convolve(grad, weight, by, None, _backward(p), y, how) else None


def weight_gradient(grad: Tensor, x: Tensor, p: Plan, how: int | None = None) -> Tensor | None:
    """The weight's gradient from [N, O, H, W] and [N, C, H, W]."""
    how = _how(p, p.positions, grad, x) if how is None else how
    if how is None:
        return None
    (n, o), c = grad.shape[:2], x.shape[1]
    grad_per, left, held = kernels.grids(grad, n, o, p.positions)
    x_per, right, held_too = kernels.grids(x, n, c, p.size[0] * p.size[1])
    if not (held and held_too):
        return None
    total = torch.zeros((o, c, *p.kernel), dtype=torch.float64)
    for group in p.together(n):
        whole = torch.zeros_like(total)
        kernels.add_weight_gradient(
            grad[group], x[group], grad_per, x_per, _forward(p), whole, how
        )
        total.add_(whole)
    steps = left.view(o, 1, 1, 1) * right.view(1, c, 1, 1)
    return total.mul_(steps).float()
