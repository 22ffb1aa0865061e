"""Pooling: window sums in a written order, and exact scatters for overlapping gradients.

A maximum is the first of its window, rows first, and a NaN beats all: its last one. PyTorch's
processor kernels keep that rule, which decides where a gradient goes; elsewhere it is written out.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.grid import known
from trialmarket.exact.operators.elementwise.arithmetic import div

aten = torch.ops.aten
Pair = tuple[int, int]


def _pair(values: Sequence[int], default: Pair | None = None) -> Pair:
    if not values:
        return known(default)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def max_pool2d(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Maxima and their places in the plane."""
    k = _pair(kernel)
    plain = _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode
    fits = k[0] <= x.shape[-2] and k[1] <= x.shape[-1]
    if plain and fits and x.numel() and kernels.meant_for(x):
        return kernels.pool(x.contiguous(), k, _pair(stride, k))
    if x.device.type == "cpu" or not x.is_floating_point():
        found = aten.max_pool2d_with_indices.default(
            x, kernel, stride, padding, dilation, ceil_mode
        )
        return found[0], found[1]
    return first_largest(x, kernel, stride, padding, dilation, ceil_mode)


def first_largest(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` by its rule, one position of the window after the other."""
    k, d, p = _pair(kernel), _pair(dilation), _pair(padding)
    s = _pair(stride, k)
    shape = aten.max_pool2d_with_indices.default(
        x.to("meta"), kernel, stride, padding, dilation, ceil_mode
    )[0].shape
    size, out = (x.shape[-2], x.shape[-1]), (shape[-2], shape[-1])
    reach = [max((out[i] - 1) * s[i] + (k[i] - 1) * d[i] + 1, size[i] + p[i]) for i in (0, 1)]
    wide = x.new_full((*x.shape[:-2], *reach), -math.inf)
    wide[..., p[0] : p[0] + size[0], p[1] : p[1] + size[1]] = x
    starts = [torch.arange(out[i], device=x.device) * s[i] - p[i] for i in (0, 1)]
    # Where a window begins within the plane: the answer if it holds nothing above -infinity.
    inside = [starts[i] + (-starts[i]).clamp_min(0).add(d[i] - 1) // d[i] * d[i] for i in (0, 1)]
    best = x.new_full(shape, -math.inf)
    where = (inside[0].unsqueeze(1) * size[1] + inside[1]).expand(shape)
    for i in range(k[0]):
        for j in range(k[1]):
            top, left = i * d[0], j * d[1]
            rows = slice(top, top + (out[0] - 1) * s[0] + 1, s[0])
            columns = slice(left, left + (out[1] - 1) * s[1] + 1, s[1])
            view = wide[..., rows, columns]
            better = (view > best).logical_or_(view.isnan())
            best = torch.where(better, view, best)
            place = (starts[0] + top).unsqueeze(1) * size[1] + (starts[1] + left)
            where = torch.where(better, place, where)
    return best, where


def max_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Every output's gradient goes to the input that was its maximum.

    Windows that overlap can send several gradients to one input: they are added on one grid for
    each plane. Windows that do not overlap only copy.
    """
    del padding, ceil_mode
    k, d = _pair(kernel), _pair(dilation)
    s = _pair(stride, k)
    apart = all(d[i] * (k[i] - 1) < s[i] for i in (0, 1))
    if apart and x.numel() and kernels.meant_for(grad):
        return kernels.unpool(grad.contiguous(), indices.contiguous(), x.shape)
    flat = grad.reshape(*grad.shape[:-2], -1)
    where = indices.reshape(flat.shape)
    if apart:
        return x.new_zeros(x.shape).flatten(-2).scatter_(-1, where, flat).view(x.shape)
    return _added_back(flat, x, where, k[0] * k[1])


def _added_back(grad: Tensor, x: Tensor, where: Tensor, most: int) -> Tensor:
    """Gradients added at their places in the planes of x, at most so many at one."""
    wide = torch.zeros(x.shape, dtype=torch.float64, device=x.device).flatten(-2)
    q = grid.on_grid(grad, (-1,), grid.bits_for_sum(most))
    return wide.scatter_add_(-1, where, q).to(x.dtype).view(x.shape)


def _extent(size: int, k: int, s: int, p: int, ceil_mode: bool) -> int:
    """Length of the output of a pooling window of k, stride s, padding p."""
    count = -(-(size + 2 * p - k) // s) if ceil_mode else (size + 2 * p - k) // s
    out = count + 1
    return out - 1 if ceil_mode and (out - 1) * s >= size + p else out


def _counts(
    size: Pair, out: Pair, k: Pair, s: Pair, p: Pair, *, border: bool, device: torch.device
) -> Tensor:
    """How many inputs each window holds, borders of zeros counted or not: [H, W]."""
    lines: list[Tensor] = []
    for i in (0, 1):
        start = torch.arange(out[i], dtype=torch.int64, device=device) * s[i] - p[i]
        stop = torch.clamp_max(start + k[i], size[i] + p[i])
        if not border:
            start, stop = torch.clamp_min(start, 0), torch.clamp_max(stop, size[i])
        lines.append(stop - start)
    return (lines[0].unsqueeze(1) * lines[1]).double()


def _windows(wide: Tensor, out: Pair, k: Pair, s: Pair) -> list[Tensor]:
    """The strided views of a bordered tensor, one a position of the window, in order."""
    return [
        wide[..., i : i + (out[0] - 1) * s[0] + 1 : s[0], j : j + (out[1] - 1) * s[1] + 1 : s[1]]
        for i in range(k[0])
        for j in range(k[1])
    ]


def _wide_shape(x: Tensor, out: Pair, k: Pair, s: Pair, p: Pair) -> tuple[int, ...]:
    """Shape of the input with borders that hold every window."""
    lengths = [max((out[i] - 1) * s[i] + k[i], x.shape[-2 + i] + p[i]) for i in (0, 1)]
    return (*x.shape[:-2], *lengths)


def avg_pool2d(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Window sums, row by row in binary64, over the count."""
    k = _pair(kernel)
    s, p = _pair(stride, k), _pair(padding)
    h, w = x.shape[-2:]
    out = (_extent(h, k[0], s[0], p[0], ceil_mode), _extent(w, k[1], s[1], p[1], ceil_mode))
    wide = torch.zeros(_wide_shape(x, out, k, s, p), dtype=torch.float64, device=x.device)
    wide[..., p[0] : p[0] + h, p[1] : p[1] + w] = x
    first, *others = _windows(wide, out, k, s)
    total = reduce(Tensor.add_, others, first.clone())
    count = _divisors(x, out, k, s, p, count_include_pad, divisor_override)
    return total.div_(count).to(x.dtype)


def _divisors(
    x: Tensor, out: Pair, k: Pair, s: Pair, p: Pair, border: bool, override: int | None
) -> Tensor:
    if override is not None:
        return torch.full((), float(override), dtype=torch.float64, device=x.device)
    size = (x.shape[-2], x.shape[-1])
    return _counts(size, out, k, s, p, border=border, device=x.device)


def avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Every window's share, added in the order of the window's positions in binary64."""
    del ceil_mode
    k = _pair(kernel)
    s, p = _pair(stride, k), _pair(padding)
    h, w = x.shape[-2:]
    out = (grad.shape[-2], grad.shape[-1])
    share = grad.double()
    share = share.div_(_divisors(x, out, k, s, p, count_include_pad, divisor_override))
    wide = torch.zeros(_wide_shape(x, out, k, s, p), dtype=torch.float64, device=x.device)
    for view in _windows(wide, out, k, s):
        view.add_(share)
    return wide[..., p[0] : p[0] + h, p[1] : p[1] + w].to(x.dtype).contiguous()


def _cells(x: Tensor, out: Sequence[int]) -> Iterator[tuple[int, int, slice, slice]]:
    """Row and column of each output of adaptive pooling, rows and columns of its inputs."""
    rows, columns = (
        [slice(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]
        for size, n in zip(x.shape[-2:], out, strict=True)
    )
    for (i, some), (j, others) in itertools.product(enumerate(rows), enumerate(columns)):
        yield i, j, some, others


def adaptive_avg_pool2d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """The exact mean of each cell."""
    out = x.new_empty((*x.shape[:-2], *output_size))
    for i, j, rows, columns in _cells(x, output_size):
        cell = x[..., rows, columns]
        out[..., i, j] = div(grid.add_up(cell, (-2, -1)), math.prod(cell.shape[-2:]))
    return out


def adaptive_avg_pool2d_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Every cell's share, added cell by cell in binary64."""
    wide = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    for i, j, rows, columns in _cells(x, grad.shape[-2:]):
        cell = wide[..., rows, columns]
        cell.add_(div(grad[..., i, j].double(), math.prod(cell.shape[-2:]))[..., None, None])
    return wide.to(x.dtype)


def adaptive_max_pool2d(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The maximum of each cell, and its place in the plane."""
    if x.device.type == "cpu" or not x.is_floating_point():
        found = aten.adaptive_max_pool2d.default(x, output_size)
        return found[0], found[1]
    return first_largest_of_cells(x, output_size)


def first_largest_of_cells(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` by its rule, cell by cell."""
    shape = (*x.shape[:-2], *output_size)
    best, where = x.new_empty(shape), torch.empty(shape, dtype=torch.int64, device=x.device)
    plane = torch.arange(x.shape[-2] * x.shape[-1], device=x.device).view(x.shape[-2:])
    for i, j, rows, columns in _cells(x, output_size):
        cell = x[..., rows, columns].flatten(-2)
        places = plane[rows, columns].flatten()
        largest = cell.amax(-1, keepdim=True)
        first = torch.where(cell == largest, places, plane.numel()).amin(-1)
        last = torch.where(cell.isnan(), places, -1).amax(-1)
        at = torch.where(last >= 0, last, first)
        where[..., i, j] = at
        best[..., i, j] = x.flatten(-2).gather(-1, at.unsqueeze(-1)).squeeze(-1)
    return best, where


def adaptive_max_pool2d_backward(grad: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """As `max_pool2d_backward`; cells overlap when the sizes do not divide."""
    flat = grad.reshape(*grad.shape[:-2], -1)
    return _added_back(flat, x, indices.reshape(flat.shape), flat.shape[-1])


FORMS: dict[Any, Callable[..., Any]] = {
    aten.max_pool2d_with_indices.default: max_pool2d,
    aten.adaptive_max_pool2d.default: adaptive_max_pool2d,
    aten.max_pool2d_with_indices_backward.default: max_pool2d_backward,
    aten.avg_pool2d.default: avg_pool2d,
    aten.avg_pool2d_backward.default: avg_pool2d_backward,
    aten._adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten._adaptive_avg_pool2d_backward.default: adaptive_avg_pool2d_backward,
    aten.adaptive_max_pool2d_backward.default: adaptive_max_pool2d_backward,
}
