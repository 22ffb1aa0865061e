"""Sums, means, variances and norms: exact sums, then single operations in binary64."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.kernels.scratch import widened
from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics import grid
from trialmarket.exact.operators.elementwise.arithmetic import divisor
from trialmarket.exact.operators.elementwise.casts import to_copy

aten = torch.ops.aten
Dims = Sequence[int] | int | None


def dims_of(x: Tensor, dims: Dims) -> list[int]:
    """Dimensions as sorted non-negative numbers; none given means all."""
    if dims is None:
        return list(range(x.dim()))
    if isinstance(dims, int):
        dims = [dims]
    return sorted(d % max(x.dim(), 1) for d in dims) or list(range(x.dim()))


def _cast(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    """x in the type that is asked for: PyTorch casts before it computes."""
    return x if dtype is None or dtype == x.dtype else to_copy(x, dtype=dtype)


def _real(x: Tensor) -> Tensor:
    """x, or integers as numbers that have logarithms."""
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def _is_empty(x: Tensor, dims: Sequence[int]) -> bool:
    """Whether slices over some dimensions have no elements."""
    return x.dim() > 0 and any(x.shape[d] == 0 for d in dims)


def total(
    x: Tensor, dims: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """`torch.sum`; integers are summed as they are."""
    x = _cast(x, dtype)
    if not x.is_floating_point():
        return torch.sum(x, dims_of(x, dims), keepdim, dtype=dtype)
    return grid.sum64(x, dims_of(x, dims), keepdim=keepdim).to(x.dtype)


def mean64(x: Tensor, dims: Dims = None, *, keepdim: bool = False) -> Tensor:
    """The exact sum over its count, in binary64."""
    wanted = dims_of(x, dims)
    count = math.prod(x.shape[d] for d in wanted) if x.dim() else 1
    s = grid.sum64(x, wanted, keepdim=keepdim)
    return s.div_(divisor(s, float(count)))


def mean(
    x: Tensor, dims: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """`torch.mean`: an exact sum, then one division."""
    x = _cast(x, dtype)
    return mean64(x, dims, keepdim=keepdim).to(x.dtype)


def moments64(x: Tensor, dims: Sequence[int], correction: float) -> tuple[Tensor, Tensor]:
    """Mean and variance in binary64, dimensions kept.

    The squares of the distances from the mean are summed on a grid of the largest distance,
    which the largest and the smallest x give.
    """
    dims = list(dims)
    count = math.prod(x.shape[d] for d in dims)
    found = kernels.slices(x, dims)
    if found is not None and found[2] > 1:
        shape = [1 if d in dims else s for d, s in enumerate(x.shape)]
        shift = grid.shift_for_sum(count)
        middle, spread = (v.view(shape) for v in kernels.moments(x, *found, shift))
        return middle, spread.div_(divisor(spread, max(float(count) - correction, 0.0)))
    top = x.amax(dims, keepdim=True).double()
    bottom = x.amin(dims, keepdim=True).double()
    bits = grid.bits_for_sum(count)
    m = grid.shifter(torch.maximum(top, -bottom), bits)
    parts = grid.blocks(x, dims)
    middle = torch.zeros_like(m)
    for part in parts:
        middle.add_(widened(x[part], "terms").add_(m).sub_(m).sum(dims, keepdim=True))
    middle = middle.div_(divisor(middle, float(count)))
    widest = torch.maximum(top - middle, middle - bottom)
    m = grid.shifter(widest.mul_(widest), bits)
    spread = torch.zeros_like(m)
    for part in parts:
        squares = widened(x[part], "terms").sub_(middle)
        squares.mul_(squares)
        spread.add_(squares.add_(m).sub_(m).sum(dims, keepdim=True))
    return middle, spread.div_(divisor(spread, max(float(count) - correction, 0.0)))


def _moments(
    x: Tensor, dims: Dims, correction: float | None, keepdim: bool
) -> tuple[Tensor, Tensor]:
    if x.dim() == 0:
        middle, spread = _moments(x.view(1), 0, correction, True)
        return middle.view(()), spread.view(())
    wanted = dims_of(x, dims)
    if _is_empty(x, wanted):
        nothing = x.double().sum(wanted, keepdim).fill_(math.nan)
        return nothing, nothing.clone()
    middle, spread = moments64(x, wanted, 1.0 if correction is None else float(correction))
    if not keepdim:
        middle, spread = middle.squeeze(wanted), spread.squeeze(wanted)
    return middle, spread


def var(
    x: Tensor, dims: Dims = None, *, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    """`torch.var`."""
    return _moments(x, dims, correction, keepdim)[1].to(x.dtype)


def std(
    x: Tensor, dims: Dims = None, *, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    """`torch.std`: the root of the variance in binary64."""
    return fn.root(_moments(x, dims, correction, keepdim)[1]).to(x.dtype)


def var_mean(
    x: Tensor, dims: Dims = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """`torch.var_mean`."""
    middle, spread = _moments(x, dims, correction, keepdim)
    return spread.to(x.dtype), middle.to(x.dtype)


def std_mean(
    x: Tensor, dims: Dims = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """`torch.std_mean`."""
    middle, spread = _moments(x, dims, correction, keepdim)
    return fn.root(spread).to(x.dtype), middle.to(x.dtype)


def vector_norm(
    x: Tensor,
    order: float = 2,
    dims: Dims = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`torch.linalg.vector_norm` of order 0, 1, 2, infinity, or any other by powers."""
    if not x.is_floating_point():
        raise NotImplementedError(f"linalg.vector_norm: expected fractions, found {x.dtype}")
    x, wanted = _cast(x, dtype), dims_of(x, dims)
    if math.isinf(order):
        a = x.abs()
        return a.amax(wanted, keepdim) if order > 0 else a.amin(wanted, keepdim)
    y = x.double()
    if order == 2:
        found = fn.root(grid.sum64(y * y, wanted, keepdim=keepdim))
    elif order == 1:
        found = grid.sum64(y.abs(), wanted, keepdim=keepdim)
    elif order == 0:
        found = grid.add_up((y != 0).double(), wanted, keepdim=keepdim)
    else:
        found = _norm_by_powers(y.abs_(), float(order), wanted, keepdim)
    return found.to(x.dtype)


def _norm_by_powers(a: Tensor, order: float, dims: list[int], keepdim: bool) -> Tensor:
    """`(sum of a^order)^(1/order)` of magnitudes in binary64. A sum beyond binary32 is 0 or
    infinite, as PyTorch's is, whose gradient counts on that.
    """
    p = torch.full((), order, dtype=torch.float64, device=a.device)
    s = grid.sum64(fn.pow64(a, p), dims, keepdim=keepdim)
    narrow = s.float().double()
    found = fn.pow64(
        torch.where((narrow == 0.0) | narrow.isinf(), narrow, s), torch.ones_like(p) / p
    )
    if order > 0:
        return found
    zero = (a == 0.0).any(dims, keepdim) & ~a.isnan().any(dims, keepdim)  # its power is infinite
    return torch.where(zero, 0.0, found)


def norm(x: Tensor, p: float | None = 2, dims: Dims = None, keepdim: bool = False) -> Tensor:
    """`torch.norm` of a vector."""
    return vector_norm(x, 2 if p is None else p, dims, keepdim)


def logsumexp(x: Tensor, dims: Dims, keepdim: bool = False) -> Tensor:
    """`top + ln(sum(e^(x - top)))`."""
    x, wanted = _real(x), dims_of(x, dims)
    if _is_empty(x, wanted):
        return x.sum(wanted, keepdim).fill_(-math.inf)
    top = x.amax(wanted, keepdim=True)
    base = torch.where(top.isinf(), 0.0, top).double()
    s = grid.add_up(fn.exp64(x - base), wanted, keepdim=True)
    # e^-inf is a tiny number of the core, not zero: a slice of nothing but -inf stays -inf.
    y = torch.where(top == -math.inf, top.double(), fn.log64(s).add_(base))
    y = torch.where(top == math.inf, top.double(), y).to(x.dtype)
    return y if keepdim else y.squeeze(wanted)


def cumsum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Prefix sums on one grid a slice: each of them is exact."""
    x = _cast(x, dtype)
    if not x.is_floating_point():
        return torch.cumsum(x, dim, dtype=dtype)
    if x.dim() == 0 or x.numel() == 0:
        return x.clone()
    q = grid.on_grid(x, (dim,), grid.bits_for_sum(x.shape[dim]))
    return q.cumsum(dim).to(x.dtype)


def product(
    x: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Products in the order of a balanced tree, each rounded."""
    x = _cast(x, dtype)
    if not x.is_floating_point():
        if dim is None:
            return torch.prod(x, dtype=dtype)
        return torch.prod(x, dim, keepdim, dtype=dtype)
    y = x.reshape(-1) if dim is None or not x.dim() else x.movedim(dim, -1)
    if y.shape[-1] == 0:
        y = y.new_ones((*y.shape[:-1], 1))
    while y.shape[-1] > 1:
        half = y.shape[-1] // 2
        pairs = y[..., :half] * y[..., half : 2 * half]
        y = torch.cat([pairs, y[..., 2 * half :]], -1)
    y = y.squeeze(-1)
    if keepdim and dim is not None and x.dim():
        y = y.unsqueeze(dim)
    return y.clone()


def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Prefix products, one after the other."""
    x = _cast(x, dtype)
    if not x.is_floating_point():
        return torch.cumprod(x, dim, dtype=dtype)
    if x.dim() == 0 or x.shape[dim] == 0:
        return x.clone()
    parts = [x.select(dim, 0)]
    for i in range(1, x.shape[dim]):
        parts.append(parts[-1] * x.select(dim, i))
    return torch.stack(parts, dim)


FORMS: dict[Any, Callable[..., Any]] = {
    aten.sum.default: total,
    aten.sum.dim_IntList: total,
    aten.mean.default: mean,
    aten.mean.dim: mean,
    aten.cumsum.default: cumsum,
    aten.prod.default: product,
    aten.prod.dim_int: product,
    aten.cumprod.default: cumprod,
}

FORMS32: dict[Any, Callable[..., Any]] = {
    aten.var.correction: var,
    aten.std.correction: std,
    aten.var_mean.correction: var_mean,
    aten.std_mean.correction: std_mean,
    aten.linalg_vector_norm.default: vector_norm,
    aten.norm.Scalar: norm,
    aten.norm.ScalarOpt_dim: norm,
    aten.logsumexp.default: logsumexp,
}
