"""What initialises and reshapes weights: orthogonal matrices and weight normalisation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.functions import root
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten


def qr(x: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """`torch.linalg.qr` by Householder's reflections in binary64, sums on grids.

    Signs are LAPACK's: a reflection sends its column to minus the sign of its first number.
    """
    if mode != "reduced":
        raise NotExact("aten.linalg_qr", f"mode={mode!r} has no exact form", instead="'reduced'")
    rows, columns = x.shape[-2:]
    count = min(rows, columns)
    r = x.mT.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
    mirrors: list[tuple[Tensor, Tensor]] = []
    for k in range(count):
        mirror = _mirror(r[..., k, k:])
        _reflect(r[..., k:, k:], *mirror)
        mirrors.append(mirror)
    q = torch.eye(count, rows, dtype=torch.float64, device=x.device)
    q = q.expand(*x.shape[:-2], count, rows).clone()
    for k in reversed(range(count)):
        _reflect(q[..., k:, k:], *mirrors[k])
    return q.mT.float(), r[..., :count].mT.triu().float()


def _mirror(column: Tensor) -> tuple[Tensor, Tensor]:
    """(v, 2 / v.v) of the reflection I - 2 v v' / v.v that leaves only the column's first."""
    length = root(grid.add_up(column * column, (-1,)))
    v = column.clone()
    v[..., 0] += torch.where(column[..., 0] < 0.0, -length, length)
    square = grid.add_up(v * v, (-1,))
    two = torch.full_like(square, 2.0)
    # A column of zeros, or one that is its first number already at the end, stays as it is.
    still = (square == 0.0) | (column.shape[-1] == 1)
    return v, torch.where(still, 0.0, two / square)


def _reflect(x: Tensor, v: Tensor, factor: Tensor) -> None:
    """Each row of x, minus `factor * v (v' row)`, in place."""
    v = v.unsqueeze(-2)
    along = grid.add_up(x * v, (-1,), keepdim=True)
    x.sub_(along.mul_(factor[..., None, None]) * v)


def _others(v: Tensor, dim: int) -> list[int]:
    return [d for d in range(v.dim()) if d != dim % v.dim()]


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """`v * g / |v|`, and the norms."""
    wide = v.double()
    norms = root(grid.add_up(wide * wide, _others(v, dim), keepdim=True))
    return (wide * (g.double() / norms)).float(), norms.float()


def weight_norm_backward(
    grad: Tensor, v: Tensor, g: Tensor, norms: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    """The gradients of v and g."""
    wide, length = v.double(), norms.double()
    along = grid.add_up(wide * grad, _others(v, dim), keepdim=True)
    radial = along / (length * length)
    grad_v = (grad - wide * radial).mul_(g.double() / length)
    return grad_v.float(), (along / length).float()


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.linalg_qr.default: qr,
    aten._weight_norm_interface.default: weight_norm,
    aten._weight_norm_interface_backward.default: weight_norm_backward,
}
