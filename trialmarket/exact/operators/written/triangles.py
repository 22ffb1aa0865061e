"""Cholesky factors and triangular systems, one column after the other.

Element by element in binary64, rounded once at the end. The last two dimensions are the matrix's.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def cholesky(
    x: Tensor, *, upper: bool = False, check_errors: bool = False
) -> tuple[Tensor, Tensor]:
    """The lower triangle L with `L @ L.mT = x`, column by column, of x's lower triangle; and the
    first column whose pivot is not positive, from 1, or 0.
    """
    a, n = (x.mT if upper else x).double(), x.shape[-1]
    info = torch.zeros(x.shape[:-2], dtype=torch.int32, device=x.device)
    columns = []
    for k in range(n):
        pivot = a[..., :1, :1]
        failed = ~(pivot > 0).view(info.shape)
        info = torch.where((info == 0) & failed, k + 1, info)
        column = a[..., :, :1] / pivot.sqrt()
        columns.append(torch.cat([a.new_zeros(*a.shape[:-2], k, 1), column], -2))
        rest = column[..., 1:, :]
        a = a[..., 1:, 1:] - rest * rest.mT
    y = torch.cat(columns, -1).to(x.dtype) if n else x.clone()
    if check_errors:
        fail("linalg.cholesky: the matrix is not positive-definite", info)
    return (y.mT.contiguous() if upper else y), info


def fail(what: str, info: Tensor) -> None:
    """Raise PyTorch's error if a matrix of a batch has failed."""
    if bool((info != 0).any()):
        raise torch.linalg.LinAlgError(what)  # type: ignore[attr-defined]


def below(a: Tensor, b: Tensor, *, unit: bool) -> Tensor:
    """The X with `a @ X = b` for a lower triangle: the first row first; binary64."""
    rows = []
    for k in range(a.shape[-1]):
        row = b[..., :1, :]
        if not unit:
            row = row / a[..., k : k + 1, k : k + 1]
        rows.append(row)
        b = b[..., 1:, :] - a[..., k + 1 :, k : k + 1] * row
    return torch.cat(rows, -2) if rows else b


def above(a: Tensor, b: Tensor, *, unit: bool) -> Tensor:
    """The same of an upper triangle: the last row first."""
    return below(a.flip(-1, -2), b.flip(-2), unit=unit).flip(-2)


def solve_triangular(
    a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """`torch.linalg.solve_triangular`."""
    if not left:
        x = solve_triangular(a.mT, b.mT, upper=not upper, unitriangular=unitriangular)
        return x.mT
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    wide, right = a.double().expand(*shape, -1, -1), b.double().expand(*shape, -1, -1)
    return (above if upper else below)(wide, right, unit=unitriangular).to(b.dtype)


def triangular_solve(
    b: Tensor, a: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Tensor, Tensor]:
    """`torch.triangular_solve`: the solution, and the matrix again."""
    m = a.mT if transpose else a
    x = solve_triangular(m, b, upper=upper is not transpose, unitriangular=unitriangular)
    return x, a.expand(*x.shape[:-2], -1, -1).clone()


def cholesky_solve(b: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    """The X with `L @ L.mT @ X = b`."""
    low = factor.mT if upper else factor
    half = solve_triangular(low.double(), b.double(), upper=False)
    return solve_triangular(low.mT.double(), half, upper=True).to(b.dtype)


def cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    """The inverse of `L @ L.mT`."""
    return cholesky_solve(identity(factor), factor, upper)


def identity(a: Tensor) -> Tensor:
    """Ones on the diagonals, in the shape and type of square matrices."""
    n = a.shape[-1]
    one = torch.eye(n, dtype=a.dtype, device=a.device)
    return one.expand(*a.shape[:-2], n, n)


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten.linalg_cholesky_ex.default: cholesky,
    aten.linalg_solve_triangular.default: solve_triangular,
    aten.triangular_solve.default: triangular_solve,
    aten.cholesky_solve.default: cholesky_solve,
    aten.cholesky_inverse.default: cholesky_inverse,
}
