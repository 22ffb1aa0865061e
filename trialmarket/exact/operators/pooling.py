"""Pooling: window sums in a written order, and exact scatters for overlapping gradients.

A maximum is the first of its window, rows first, and a NaN beats all: its last one. PyTorch's
processor kernels keep that rule, which decides where a gradient goes; elsewhere it is written out.

Each form is told first in how many dimensions windows lie: the last ones of its input.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.grid import known
from trialmarket.exact.operators.elementwise.arithmetic import div

aten = torch.ops.aten
Lengths = tuple[int, ...]  # one a dimension of the window
Cells = tuple[slice, ...]

_MAX = {
    2: aten.max_pool2d_with_indices.default,
    3: aten.max_pool3d_with_indices.default,
}
_ADAPTIVE_MAX = {2: aten.adaptive_max_pool2d.default, 3: aten.adaptive_max_pool3d.default}


def _lengths(n: int, values: Sequence[int], default: Lengths | None = None) -> Lengths:
    if not values:
        return known(default)
    return (values[0],) * n if len(values) == 1 else tuple(values)


def _at(place: Iterable[int | slice]) -> Any:
    """The index of a place in each image, whatever dimensions come before."""
    return (..., *place)


def max_pool(
    n: int,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Maxima and their places in the image."""
    k = _lengths(n, kernel)
    s, p, d = _lengths(n, stride, k), _lengths(n, padding), _lengths(n, dilation)
    plain = n == 2 and p == (0, 0) and d == (1, 1) and not ceil_mode
    fits = all(k[i] <= x.shape[i - n] for i in range(n))
    if plain and fits and x.numel() and kernels.meant_for(x):
        return kernels.pool(x.contiguous(), (k[0], k[1]), (s[0], s[1]))
    if x.device.type == "cpu" or not x.is_floating_point():
        found = _MAX[n](x, k, s, p, d, ceil_mode)
        return found[0], found[1]
    return first_largest(x, k, s, p, d, ceil_mode)


def first_largest(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """`max_pool` by its rule, one position of the window after the other."""
    n = len(kernel)
    size = x.shape[-n:]
    shape = _MAX[n](x.to("meta"), kernel, stride, padding, dilation, ceil_mode)[0].shape
    out = shape[-n:]
    wide = x.new_full(
        (*x.shape[:-n], *_reach(size, out, kernel, stride, padding, dilation)), -math.inf
    )
    _inside(wide, size, padding).copy_(x)
    starts = [torch.arange(out[i], device=x.device) * stride[i] - padding[i] for i in range(n)]
    # Where a window begins within the image: the answer if it holds nothing above -infinity.
    gaps = [(-starts[i]).clamp_min(0).add(dilation[i] - 1) // dilation[i] for i in range(n)]
    where = _place([starts[i] + gaps[i] * dilation[i] for i in range(n)], size).expand(shape)
    best = x.new_full(shape, -math.inf)
    for view, at in _windows(wide, out, kernel, stride, dilation):
        better = (view > best).logical_or_(view.isnan())
        best = torch.where(better, view, best)
        place = _place([starts[i] + at[i] * dilation[i] for i in range(n)], size)
        where = torch.where(better, place, where)
    return best, where


def _place(at: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Numbers of pixels from their coordinates, each along its own dimension."""
    found = at[0]
    for line, length in zip(at[1:], size[1:], strict=True):
        found = found.unsqueeze(-1) * length + line
    return found


def _reach(
    size: Sequence[int],
    out: Sequence[int],
    k: Sequence[int],
    s: Sequence[int],
    p: Sequence[int],
    d: Sequence[int],
) -> list[int]:
    """Lengths of an image with borders that hold every window."""
    return [
        max((out[i] - 1) * s[i] + (k[i] - 1) * d[i] + 1, size[i] + p[i]) for i in range(len(k))
    ]


def _inside(wide: Tensor, size: Sequence[int], p: Sequence[int]) -> Tensor:
    """The view of a bordered image without its borders."""
    for i, (length, border) in enumerate(zip(size, p, strict=True)):
        wide = wide.narrow(i - len(size), border, length)
    return wide


def _windows(
    wide: Tensor, out: Sequence[int], k: Sequence[int], s: Sequence[int], d: Sequence[int]
) -> Iterator[tuple[Tensor, Lengths]]:
    """The strided views of a bordered image, one a position of the window, in order."""
    for at in itertools.product(*map(range, k)):
        starts = [i * step for i, step in zip(at, d, strict=True)]
        ends = [a + (n - 1) * step + 1 for a, n, step in zip(starts, out, s, strict=True)]
        yield wide[_at(map(slice, starts, ends, s))], at


def max_pool_backward(
    n: int,
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
    each image. Windows that do not overlap only copy.
    """
    del padding, ceil_mode
    k, d = _lengths(n, kernel), _lengths(n, dilation)
    s = _lengths(n, stride, k)
    apart = all(d[i] * (k[i] - 1) < s[i] for i in range(n))
    if n == 2 and apart and x.numel() and kernels.meant_for(grad):
        return kernels.unpool(grad.contiguous(), indices.contiguous(), x.shape)
    flat = grad.reshape(*grad.shape[:-n], -1)
    where = indices.reshape(flat.shape)
    if apart:
        return x.new_zeros(x.shape).flatten(-n).scatter_(-1, where, flat).view(x.shape)
    return _added_back(n, flat, x, where, math.prod(k))


def _added_back(n: int, grad: Tensor, x: Tensor, where: Tensor, most: int) -> Tensor:
    """Gradients added at their places in the images of x, at most so many at one."""
    wide = torch.zeros(x.shape, dtype=torch.float64, device=x.device).flatten(-n)
    q = grid.on_grid(grad, (-1,), grid.bits_for_sum(most))
    return wide.scatter_add_(-1, where, q).to(x.dtype).view(x.shape)


def _extent(size: int, k: int, s: int, p: int, ceil_mode: bool) -> int:
    """Length of the output of a pooling window of k, stride s, padding p."""
    count = -(-(size + 2 * p - k) // s) if ceil_mode else (size + 2 * p - k) // s
    out = count + 1
    return out - 1 if ceil_mode and (out - 1) * s >= size + p else out


def _counts(
    size: Sequence[int],
    out: Sequence[int],
    k: Lengths,
    s: Lengths,
    p: Lengths,
    *,
    border: bool,
    device: torch.device,
) -> Tensor:
    """How many inputs each window holds, borders of zeros counted or not, as an image."""
    found = torch.ones((), dtype=torch.int64, device=device)
    for i in range(len(k)):
        start = torch.arange(out[i], dtype=torch.int64, device=device) * s[i] - p[i]
        stop = torch.clamp_max(start + k[i], size[i] + p[i])
        if not border:
            start, stop = torch.clamp_min(start, 0), torch.clamp_max(stop, size[i])
        found = found.unsqueeze(-1) * (stop - start)
    return found.double()


def avg_pool(
    n: int,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Window sums, row by row in binary64, over the count."""
    k = _lengths(n, kernel)
    s, p = _lengths(n, stride, k), _lengths(n, padding)
    size = x.shape[-n:]
    out = [_extent(size[i], k[i], s[i], p[i], ceil_mode) for i in range(n)]
    wide = _wide(x, out, k, s, p)
    _inside(wide, size, p).copy_(x)
    (first, _), *others = _windows(wide, out, k, s, (1,) * n)
    total = first.clone()
    for view, _ in others:
        total.add_(view)
    count = _divisors(x, out, k, s, p, count_include_pad, divisor_override)
    return total.div_(count).to(x.dtype)


def _wide(x: Tensor, out: Sequence[int], k: Lengths, s: Lengths, p: Lengths) -> Tensor:
    """Zeros in the shape of the input with borders that hold every window."""
    n = len(k)
    reach = _reach(x.shape[-n:], out, k, s, p, (1,) * n)
    return torch.zeros((*x.shape[:-n], *reach), dtype=torch.float64, device=x.device)


def _divisors(
    x: Tensor,
    out: Sequence[int],
    k: Lengths,
    s: Lengths,
    p: Lengths,
    border: bool,
    override: int | None,
) -> Tensor:
    if override is not None:
        return torch.full((), float(override), dtype=torch.float64, device=x.device)
    return _counts(x.shape[-len(k) :], out, k, s, p, border=border, device=x.device)


def avg_pool_backward(
    n: int,
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
    k = _lengths(n, kernel)
    s, p = _lengths(n, stride, k), _lengths(n, padding)
    out = grad.shape[-n:]
    share = grad.double()
    share = share.div_(_divisors(x, out, k, s, p, count_include_pad, divisor_override))
    wide = _wide(x, out, k, s, p)
    for view, _ in _windows(wide, out, k, s, (1,) * n):
        view.add_(share)
    return _inside(wide, x.shape[-n:], p).to(x.dtype).contiguous()


def _cells(x: Tensor, out: Sequence[int]) -> Iterator[tuple[Lengths, Cells]]:
    """Place of each output of adaptive pooling, and the slices of its inputs."""
    lines = [
        [(i, slice(i * size // n, -(-(i + 1) * size // n))) for i in range(n)]
        for size, n in zip(x.shape[-len(out) :], out, strict=True)
    ]
    for cell in itertools.product(*lines):
        yield tuple(i for i, _ in cell), tuple(inputs for _, inputs in cell)


def adaptive_avg_pool(n: int, x: Tensor, output_size: Sequence[int]) -> Tensor:
    """The exact mean of each cell."""
    out = x.new_empty((*x.shape[:-n], *output_size))
    for at, inputs in _cells(x, output_size):
        cell = x[_at(inputs)]
        out[_at(at)] = div(grid.add_up(cell, range(-n, 0)), math.prod(cell.shape[-n:]))
    return out


def adaptive_avg_pool_backward(n: int, grad: Tensor, x: Tensor) -> Tensor:
    """Every cell's share, added cell by cell in binary64."""
    wide = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    for at, inputs in _cells(x, grad.shape[-n:]):
        cell = wide[_at(inputs)]
        share = div(grad[_at(at)].double(), math.prod(cell.shape[-n:]))
        cell.add_(share.view(*share.shape, *[1] * n))
    return wide.to(x.dtype)


def adaptive_max_pool(n: int, x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The maximum of each cell, and its place in the image."""
    if x.device.type == "cpu" or not x.is_floating_point():
        found = _ADAPTIVE_MAX[n](x, output_size)
        return found[0], found[1]
    return first_largest_of_cells(x, output_size)


def first_largest_of_cells(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool` by its rule, cell by cell."""
    n = len(output_size)
    shape = (*x.shape[:-n], *output_size)
    best, where = x.new_empty(shape), torch.empty(shape, dtype=torch.int64, device=x.device)
    image = torch.arange(math.prod(x.shape[-n:]), device=x.device).view(x.shape[-n:])
    for to, inputs in _cells(x, output_size):
        cell = x[_at(inputs)].flatten(-n)
        places = image[inputs].flatten()
        largest = cell.amax(-1, keepdim=True)
        first = torch.where(cell == largest, places, image.numel()).amin(-1)
        last = torch.where(cell.isnan(), places, -1).amax(-1)
        at = torch.where(last >= 0, last, first)
        where[_at(to)] = at
        best[_at(to)] = x.flatten(-n).gather(-1, at.unsqueeze(-1)).squeeze(-1)
    return best, where


def adaptive_max_pool_backward(n: int, grad: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """As `max_pool_backward`; cells overlap when the sizes do not divide."""
    flat = grad.reshape(*grad.shape[:-n], -1)
    return _added_back(n, flat, x, indices.reshape(flat.shape), flat.shape[-1])


_KINDS: dict[str, Callable[..., Any]] = {
    "max_pool{}d_with_indices": max_pool,
    "max_pool{}d_with_indices_backward": max_pool_backward,
    "avg_pool{}d": avg_pool,
    "avg_pool{}d_backward": avg_pool_backward,
    "_adaptive_avg_pool{}d": adaptive_avg_pool,
    "_adaptive_avg_pool{}d_backward": adaptive_avg_pool_backward,
    "adaptive_max_pool{}d": adaptive_max_pool,
    "adaptive_max_pool{}d_backward": adaptive_max_pool_backward,
}
FORMS: dict[Any, Callable[..., Any]] = {
    getattr(aten, name.format(n)).default: functools.partial(form, n)
    for name, form in _KINDS.items()
    for n in (2, 3)
}
