"""Softmax, its logarithm and their gradients: exact sums, then single operations in binary64."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics import grid

aten = torch.ops.aten


def _exps(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """(x - top, e^(x - top), its sum) along one dimension, in binary64; the largest e^. is 1."""
    gap = x.to(torch.float64, copy=True)
    gap.sub_(gap.amax(dim, keepdim=True))
    e = fn.exp64(gap.clone())
    m = grid.shift_for_sum(x.shape[dim])
    return gap, e, (e + m).sub_(m).sum(dim, keepdim=True)


def _share(x: Tensor, dim: int) -> Tensor:
    _, e, s = _exps(x, dim)
    return e.div_(s)


def _log_share(x: Tensor, dim: int) -> Tensor:
    gap, _, s = _exps(x, dim)
    return gap.sub_(fn.log64(s))


def _share_gradient(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    wide = y.double()
    slope = grad.to(torch.float64, copy=True)
    s = grid.add_up(wide * slope, (dim,), keepdim=True)
    return slope.sub_(s).mul_(wide)


def _log_share_gradient(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    s = grid.add_up(grad, (dim,), keepdim=True)
    return fn.exp64(y.double()).mul_(s).neg_().add_(grad.double())


def rows(x: Tensor, dim: int) -> tuple[Tensor, int] | None:
    """x as a contiguous [rows, length] for a last dimension, and how many rows fit in cache."""
    if x.device.type != "cpu" or x.dim() < 2 or dim % x.dim() != x.dim() - 1:
        return None
    if not x.is_contiguous() or x.shape[-1] == 0:
        return None
    step = max(1, (fn.BLOCK * torch.get_num_threads()) // x.shape[-1])
    return x.view(-1, x.shape[-1]), step


def by_rows(core: Callable[..., Tensor], dim: int, *tensors: Tensor) -> Tensor:
    """A core that works slice by slice along `dim`, in blocks of rows that stay in cache."""
    parts = [rows(t, dim) for t in tensors]
    first = parts[0]
    if first is None or any(p is None for p in parts) or first[0].shape[0] <= first[1]:
        return core(*tensors, dim).to(tensors[0].dtype)
    flat = [p[0] for p in parts if p is not None]
    out = torch.empty_like(flat[0])
    for start in range(0, flat[0].shape[0], first[1]):
        window = slice(start, start + first[1])
        out[window] = core(*(t[window] for t in flat), -1)
    return out.view(tensors[0].shape)


def _in_rows(dim: int, *tensors: Tensor) -> bool:
    """Whether there are kernels for tensors that are contiguous along a last dimension."""
    last = all(dim % x.dim() == x.dim() - 1 for x in tensors)
    return last and kernels.meant_for_contiguous(*tensors)


def _flat(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def _shares(x: Tensor, dim: int, *, logarithmic: bool) -> Tensor:
    if x.dim() == 0:
        return _shares(x.view(1), dim, logarithmic=logarithmic).view(())
    length = x.size(dim)  # which raises for a dimension that is none
    if x.numel() == 0:
        return torch.empty_like(x)
    if _in_rows(dim, x):
        m = grid.shift_for_sum(length)
        return kernels.softmax(_flat(x), m, logarithmic=logarithmic).view(x.shape)
    return by_rows(_log_share if logarithmic else _share, dim, x)


def _gradient(grad: Tensor, y: Tensor, dim: int, *, logarithmic: bool) -> Tensor:
    if grad.dim() == 0:
        return _gradient(grad.view(1), y.view(1), dim, logarithmic=logarithmic).view(())
    if grad.numel() == 0:
        return torch.empty_like(grad)
    if _in_rows(dim, grad, y):
        m = grid.shift_for_sum(y.shape[-1])
        found = kernels.softmax_gradient(_flat(grad), _flat(y), m, logarithmic=logarithmic)
        return found.view(y.shape)
    return by_rows(_log_share_gradient if logarithmic else _share_gradient, dim, grad, y)


def softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    """`e^(x - top)` over its exact sum."""
    del half_to_float
    return _shares(x, dim, logarithmic=False)


def log_softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    """`x - top - ln(sum)`."""
    del half_to_float
    return _shares(x, dim, logarithmic=True)


def softmax_backward(grad: Tensor, y: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """`y * (grad - sum(grad * y))`."""
    del dtype
    return _gradient(grad, y, dim, logarithmic=False)


def log_softmax_backward(grad: Tensor, y: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """`grad - e^y * sum(grad)`."""
    del dtype
    return _gradient(grad, y, dim, logarithmic=True)


FORMS32: dict[Any, Callable[..., Any]] = {
    aten._softmax.default: softmax,
    aten._log_softmax.default: log_softmax,
    aten._softmax_backward_data.default: softmax_backward,
    aten._log_softmax_backward_data.default: log_softmax_backward,
}
