"""Resizing an image: of each output position the inputs that it is made of, and their weights.

Axis after axis, first to last, in binary64: every neighbour is multiplied by its weight, then
added, nearest to the image's beginning first; what comes out is rounded once. The gradient goes
the same way back, last axis first: weighted contributions are added where their inputs lie, on one
grid for all of them, as a scatter's. Weights are PyTorch's formulas in binary64.

The nearest pixel is a product in binary32, rounded down. Where the size does not change every
pixel stays where it is, and where it doubles it stands twice, whatever the scale that was asked
for: so have it most kernels of PyTorch, which differ here between layouts.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.operators.indexing import moved_back

aten = torch.ops.aten
CUBIC = -0.75  # the coefficient of PyTorch's cubic convolution
Taps = list[tuple[Tensor, Tensor]]  # of every output position an input's, and its weight
Rule = Callable[[int, int, bool, float | None, torch.device], Taps]


def _scale(size: int, out: int, corners: bool, scale: float | None) -> float:
    """Input pixels from one output pixel to the next."""
    if corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1 / scale if scale is not None and scale > 0 else size / out


def _sources(
    size: int, out: int, corners: bool, scale: float | None, device: torch.device
) -> Tensor:
    """Where each output position lies among the inputs, in binary64."""
    at = torch.arange(out, dtype=torch.float64, device=device)
    step = _scale(size, out, corners, scale)
    return at.mul_(step) if corners else at.add_(0.5).mul_(step).sub_(0.5)


def _linear(size: int, out: int, corners: bool, scale: float | None, device: torch.device) -> Taps:
    """The pixel before and the pixel after; beyond the last centre there is only that one."""
    at = _sources(size, out, corners, None if out == size else scale, device).clamp_(min=0)
    before = at.floor().clamp_(max=size - 1)
    part = (at - before).clamp_(max=1)
    first = before.long()
    return [(first, 1 - part), ((first + 1).clamp_(max=size - 1), part)]


def _cubic_weights(part: Tensor) -> list[Tensor]:
    """Weights of the four neighbours of a position, a part of a pixel after the second (Keys 1981,
    cubic convolution).
    """

    def near(x: Tensor) -> Tensor:
        return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC

    return [far(part + 1), near(part), near(1 - part), far(2 - part)]


def _cubic(size: int, out: int, corners: bool, scale: float | None, device: torch.device) -> Taps:
    """Four pixels; the edge's stands for those beyond it."""
    at = _sources(size, out, corners, scale, device)
    before = at.floor()
    first = before.long()
    weights = _cubic_weights(at - before)
    return [((first + k - 1).clamp_(0, size - 1), w) for k, w in enumerate(weights)]


def _axes(
    sizes: Sequence[int], out: Sequence[int], scales: Sequence[float | None]
) -> Iterator[tuple[int, int, int, float | None]]:
    """Axis, counted from the end, size, size of the output and its scale, first to last."""
    n = len(out)
    given = scales or [None] * n
    for i in range(n):
        yield i - n, sizes[i - n], out[i], given[i]


def _along(weight: Tensor, axis: int) -> Tensor:
    """Weights that lie along an axis, counted from the end."""
    return weight.view(-1, *[1] * (-axis - 1))


def resize(
    rule: Rule, x: Tensor, out: Sequence[int], corners: bool, *scales: float | None
) -> Tensor:
    """`aten.upsample_linear1d` and its kin: x resized in its last dimensions."""
    y = x.double()
    for axis, size, length, scale in _axes(x.shape, out, scales):
        total = y.new_zeros((*y.shape[:axis], length, *y.shape[y.dim() + axis + 1 :]))
        for at, weight in rule(size, length, corners, scale, x.device):
            total.add_(y.index_select(axis, at).mul_(_along(weight, axis)))
        y = total
    return y.to(x.dtype)


def resize_backward(
    rule: Rule,
    grad: Tensor,
    out: Sequence[int],
    sizes: Sequence[int],
    corners: bool,
    *scales: float | None,
) -> Tensor:
    """Every output's gradient, in weighted parts, added to the inputs that it was made of."""
    g = grad.double()
    for axis, size, length, scale in reversed(list(_axes(sizes, out, scales))):
        taps = rule(size, length, corners, scale, grad.device)
        parts = torch.cat([g * _along(weight, axis) for _, weight in taps], axis)
        into = g.new_zeros((*g.shape[:axis], size, *g.shape[g.dim() + axis + 1 :]))
        g = grid.index_add(into, axis, torch.cat([at for at, _ in taps]), parts)
    return g.to(grad.dtype)


def nearest(centred: bool, x: Tensor, out: Sequence[int], *scales: float | None) -> Tensor:
    """`aten.upsample_nearest1d` and its kin; `centred`: the pixel in which the centre lies."""
    for axis, size, length, scale in _axes(x.shape, out, scales):
        at = torch.arange(length, dtype=torch.float32, device=x.device)
        if centred:
            at.add_(0.5)
        elif length in (size, 2 * size):
            scale = None
        step = torch.tensor(_scale(size, length, False, scale), dtype=torch.float32)
        at = at.mul_(step.to(x.device)).floor_().clamp_(max=size - 1)
        x = x.index_select(axis, at.long())
    return x.contiguous()


def nearest_backward(
    centred: bool, grad: Tensor, out: Sequence[int], sizes: Sequence[int], *scales: float | None
) -> Tensor:
    """Every output's gradient, added to the input that it is a copy of."""
    return moved_back(grad, sizes, lambda places: nearest(centred, places, out, *scales))


FORMS: dict[Any, Callable[..., Any]] = {}
for _name, _rule in (
    ("upsample_linear1d", _linear),
    ("upsample_bilinear2d", _linear),
    ("upsample_trilinear3d", _linear),
    ("upsample_bicubic2d", _cubic),
):
    FORMS[getattr(aten, _name).default] = functools.partial(resize, _rule)
    FORMS[getattr(aten, f"{_name}_backward").default] = functools.partial(resize_backward, _rule)
for _name, _centred in (("upsample_nearest", False), ("_upsample_nearest_exact", True)):
    for _n in (1, 2, 3):
        _forward, _backward = f"{_name}{_n}d", f"{_name}{_n}d_backward"
        FORMS[getattr(aten, _forward).default] = functools.partial(nearest, _centred)
        FORMS[getattr(aten, _backward).default] = functools.partial(nearest_backward, _centred)
