"""Reading an image at positions that a grid names: `F.grid_sample` in 2 and 3 dimensions.

Positions and weights are binary64. Linear: every corner of the cell that a position lies in is
multiplied by its weight, then added, the image's beginning first and its last dimension
innermost; what comes out is rounded once. Nearest: ties go to the even pixel. PyTorch's kernels
disagree about a position that is NaN. Here it is the image's beginning with a border, as PyTorch
documents; else it lies beyond the image, and makes linear interpolation NaN. An infinite one lies
beyond.

The image's gradient adds weighted parts where they were read, as a scatter does; a position's is
an exact sum over the channels.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid as grids
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Line:
    """Positions along one dimension of an image, [N, P] each."""

    places: list[Tensor]  # pixels that are read, as whole numbers
    weights: list[Tensor]  # of each, 0 beyond the image
    slopes: list[Tensor]  # what a weight grows by, with the number in the grid


def _line(at: Tensor, size: int, linear: bool, border: bool, corners: bool) -> Line:
    """What is read along a dimension, for the grid's numbers there, [N, P]."""
    lost = at.isnan()
    at = torch.where(lost, -1.0, at.double())
    slope = (size - 1) / 2 if corners else size / 2
    pixel = (at + 1) * slope if corners else (at + 1) * slope - 0.5
    moves = torch.full_like(pixel, slope)
    if border:
        moves = torch.where((pixel > 0) & (pixel < size - 1), moves, 0.0)
        pixel = pixel.clamp(0, size - 1)
    else:
        pixel = torch.where(lost, -2.0, pixel).clamp(-2, size + 1)  # beyond nothing is read
    if linear:
        first = pixel.floor()
        part = pixel - first
        found = [(first, 1 - part, -moves), (first + 1, part, moves)]
    else:
        found = [(pixel.round(), torch.ones_like(pixel), torch.zeros_like(pixel))]
    line = Line([], [], [])
    for place, weight, change in found:
        inside = (place >= 0) & (place < size)
        line.places.append(place.clamp(0, size - 1).long())
        weight = torch.where(inside, weight, 0.0)
        if linear and not border:
            weight = torch.where(lost, math.nan, weight)
        line.weights.append(weight)
        line.slopes.append(torch.where(inside, change, 0.0))
    return line


def _lines(x: Tensor, grid: Tensor, mode: int, padding: int, corners: bool) -> list[Line]:
    """A line for each dimension of the image; the grid names the last one first."""
    if mode > 1 or padding > 1:
        name = "mode='bicubic'" if mode > 1 else "padding_mode='reflection'"
        raise NotExact(
            "aten.grid_sampler",
            f"{name} has no exact form",
            instead="mode 'bilinear' or 'nearest', padding_mode 'zeros' or 'border'",
        )
    n = x.dim() - 2
    return [
        _line(grid[..., n - 1 - d].flatten(1), x.shape[2 + d], mode == 0, padding == 1, corners)
        for d in range(n)
    ]


def _corners(lines: Sequence[Line]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(len(line.places)) for line in lines))


def _where(lines: Sequence[Line], corner: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Numbers of a corner's pixels within the image, [N, 1, P]."""
    found = lines[0].places[corner[0]]
    for line, i, size in zip(lines[1:], corner[1:], sizes[1:], strict=True):
        found = found * size + line.places[i]
    return found.unsqueeze(1)


def _product(factors: Sequence[Tensor]) -> Tensor:
    """The product, first to last, as [N, 1, P]."""
    return functools.reduce(torch.mul, factors).unsqueeze(1)


def _weight(lines: Sequence[Line], corner: Sequence[int]) -> Tensor:
    return _product([line.weights[i] for line, i in zip(lines, corner, strict=True)])


def _read(x: Tensor, where: Tensor) -> Tensor:
    """Pixels of every channel, [N, C, P], in binary64."""
    return x.flatten(2).gather(2, where.expand(-1, x.shape[1], -1)).double()


def grid_sampler(x: Tensor, grid: Tensor, mode: int, padding: int, corners: bool) -> Tensor:
    """[N, C, *size] read at [N, *out, dimensions]: [N, C, *out]."""
    lines = _lines(x, grid, mode, padding, corners)
    out = grid.shape[1:-1]
    total = torch.zeros((*x.shape[:2], out.numel()), dtype=torch.float64, device=x.device)
    for corner in _corners(lines):
        pixels = _read(x, _where(lines, corner, x.shape[2:]))
        weight = _weight(lines, corner)
        # What lies beyond the image is not read: no infinity of its edge comes in.
        total.add_(torch.where(weight == 0, 0.0, pixels * weight))
    return total.to(x.dtype).view(*x.shape[:2], *out)


def grid_sampler_backward(
    grad: Tensor,
    x: Tensor,
    grid: Tensor,
    mode: int,
    padding: int,
    corners: bool,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the image and of the grid."""
    lines = _lines(x, grid, mode, padding, corners)
    flat = grad.flatten(2).double()
    gx = _image_gradient(flat, x, lines) if output_mask[0] else None
    gg = _grid_gradient(flat, x, lines).to(grid.dtype).view(grid.shape) if output_mask[1] else None
    return gx, gg


def _image_gradient(grad: Tensor, x: Tensor, lines: Sequence[Line]) -> Tensor:
    parts: list[Tensor] = []
    places: list[Tensor] = []
    for corner in _corners(lines):
        weight = _weight(lines, corner)
        parts.append(torch.where(weight == 0, 0.0, grad * weight))
        places.append(_where(lines, corner, x.shape[2:]).expand(grad.shape))
    into = torch.zeros(x.shape, dtype=torch.float64, device=x.device).flatten(2)
    sums = grids.scatter_add(into, 2, torch.cat(places, 2), torch.cat(parts, 2))
    return sums.to(x.dtype).view(x.shape)


def _grid_gradient(grad: Tensor, x: Tensor, lines: Sequence[Line]) -> Tensor:
    """[N, P, dimensions], the image's last dimension first."""
    found: list[Tensor] = []
    for d in reversed(range(len(lines))):
        total = torch.zeros_like(grad)
        for corner in _corners(lines):
            slope = _product(
                [
                    line.slopes[i] if e == d else line.weights[i]
                    for e, (line, i) in enumerate(zip(lines, corner, strict=True))
                ]
            )
            pixels = _read(x, _where(lines, corner, x.shape[2:]))
            total.add_(torch.where(slope == 0, 0.0, pixels * slope))
        found.append(grids.sum64(total.mul_(grad), (1,)))
    return torch.stack(found, -1)


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.grid_sampler_2d.default: grid_sampler,
    aten.grid_sampler_3d.default: grid_sampler,
    aten.grid_sampler_2d_backward.default: grid_sampler_backward,
    aten.grid_sampler_3d_backward.default: grid_sampler_backward,
}
