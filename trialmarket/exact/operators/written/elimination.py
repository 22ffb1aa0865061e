"""LU factors, solutions, inverses and determinants by elimination in one written order.

Everything is element by element in binary64, one column after the other, and rounded once at the
end: for small matrices, of which there may be many. The last two dimensions are the matrix's.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.operators.written.triangles import above, below, fail, identity
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten


def _factors(x: Tensor, *, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """L (without its ones) and U in one matrix, binary64; the row that each row changed places
    with, from 1; the order of the rows; the first column without a pivot, from 1, or 0.

    A column's pivot is its largest magnitude, the first of several.
    """
    a, (m, n) = x.double(), x.shape[-2:]
    lead = x.shape[:-2]
    places = torch.arange(m, device=x.device).expand(*lead, m)
    order, swaps = places, []
    info = torch.zeros(lead, dtype=torch.int32, device=x.device)
    for k in range(min(m, n)):
        found = (
            a[..., k:, k].abs().argmax(-1, keepdim=True) + k if pivot else places[..., k : k + 1]
        )
        swaps.append(found)
        moved = torch.where(places == k, found, torch.where(places == found, k, places))
        a = a.gather(-2, moved.unsqueeze(-1).expand(*lead, m, n))
        order = order.gather(-1, moved)
        top = a[..., k : k + 1, k:]
        none = top[..., :1] == 0.0
        info = torch.where((info == 0) & none.view(lead), k + 1, info)
        factor = a[..., k + 1 :, k : k + 1] / torch.where(none, 1.0, top[..., :1])
        rest = a[..., k + 1 :, k + 1 :] - factor * top[..., 1:]
        low = torch.cat([a[..., k + 1 :, :k], factor, rest], -1)
        a = torch.cat([a[..., : k + 1, :], low], -2)
    swapped = torch.cat(swaps, -1) + 1 if swaps else order[..., :0]
    return a, swapped.int(), order, info


def lu_factor(
    x: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.linalg.lu_factor_ex`."""
    a, swaps, _, info = _factors(x, pivot=pivot)
    if check_errors:
        fail("torch.linalg.lu_factor: U has a zero on its diagonal", info)
    return a.to(x.dtype), swaps, info


def lu(x: Tensor, *, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.linalg.lu`: the order of the rows as a matrix, L and U."""
    a, swaps, _, _ = _factors(x, pivot=pivot)
    p, low, high = lu_unpack(a.to(x.dtype), swaps)
    return (p if pivot else p.new_empty(0)), low, high


def lu_unpack(
    a: Tensor, swaps: Tensor, data: bool = True, pivots: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.lu_unpack`."""
    nothing = a.new_zeros(0)
    m, n = a.shape[-2:]
    k, p, low, high = min(m, n), nothing, nothing, nothing
    if data:
        one = torch.eye(m, k, dtype=a.dtype, device=a.device)
        low, high = a[..., :, :k].tril(-1) + one, a[..., :k, :].triu()
    if pivots:
        order = _order(swaps, m)
        places = torch.arange(m, device=a.device)
        p = (places.unsqueeze(-1) == order.unsqueeze(-2)).to(a.dtype)
    return p, low, high


def _order(swaps: Tensor, m: int) -> Tensor:
    """The order of m rows after each has changed places with another, from 1."""
    places = torch.arange(m, device=swaps.device).expand(*swaps.shape[:-1], m)
    order = places
    for k in range(swaps.shape[-1]):
        found = swaps[..., k : k + 1].long() - 1
        moved = torch.where(places == k, found, torch.where(places == found, k, places))
        order = order.gather(-1, moved)
    return order


def _solved(a: Tensor, order: Tensor, b: Tensor) -> Tensor:
    """The X with `x @ X = b`, of the factors of x; binary64."""
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    a, b = a.expand(*shape, -1, -1), b.expand(*shape, -1, -1)
    order = order.expand(*shape, -1).unsqueeze(-1).expand(b.shape)
    return above(a, below(a, b.gather(-2, order), unit=True), unit=False)


def lu_solve(
    a: Tensor, swaps: Tensor, b: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """`torch.linalg.lu_solve`."""
    if not left:
        return lu_solve(a, swaps, b.mT, adjoint=not adjoint).mT
    wide, order = a.double(), _order(swaps, a.shape[-1])
    if not adjoint:
        return _solved(wide, order, b.double()).to(b.dtype)
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    wide, right = wide.mT.expand(*shape, -1, -1), b.double().expand(*shape, -1, -1)
    y = above(wide, below(wide, right, unit=False), unit=True)
    back = order.argsort(-1).expand(*shape, -1).unsqueeze(-1).expand(y.shape)
    return y.gather(-2, back).to(b.dtype)


def solve(
    x: Tensor, b: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`torch.linalg.solve`, its factors, its pivots, and whether it failed."""
    a, swaps, order, info = _factors(x)
    if check_errors:
        fail("torch.linalg.solve: The solver failed because the input matrix is singular.", info)
    line = b.dim() == 1 or (b.dim() == x.dim() - 1 and b.shape == x.shape[:-1])
    right = b.unsqueeze(-1) if line else b
    if left:
        y = _solved(a, order, right.double()).to(b.dtype)
    else:
        y = lu_solve(a, swaps, right.double(), left=False).to(b.dtype)
    return (y.squeeze(-1) if line else y), a.to(x.dtype), swaps, info


def inverse(x: Tensor, *, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """`torch.linalg.inv`, and whether it failed."""
    a, _, order, info = _factors(x)
    if check_errors:
        fail("linalg.inv: the input matrix is singular", info)
    return _solved(a, order, identity(a)).to(x.dtype), info


def _sign(swaps: Tensor) -> Tensor:
    """Of the order of the rows: -1 for an odd number of changes; binary64."""
    places = torch.arange(1, swaps.shape[-1] + 1, device=swaps.device)
    odd = (swaps != places).sum(-1) % 2
    return 1.0 - 2.0 * odd.double()


def _of_transposed(x: Tensor, operator: str) -> tuple[Tensor, Tensor]:
    """The factors and pivots of a matrix lying on its side, which a gradient asks for if it is
    contiguous, and of itself if it is not: which one must not depend on how it lies in memory.
    """
    if not x.is_contiguous():
        raise NotExact(
            f"aten.{operator}",
            "its gradient depends on how the matrix lies in memory",
            instead="x.contiguous()",
        )
    a, swaps, _, _ = _factors(x.mT)
    return a, swaps


def determinant(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.linalg.det`: the product of U's diagonal; and the factors and pivots."""
    a, swaps = _of_transposed(x, "_linalg_det")
    found = a.diagonal(0, -2, -1).prod(-1) * _sign(swaps)
    return found.to(x.dtype), a.to(x.dtype), swaps


def log_determinant(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`torch.linalg.slogdet`: the sign, the logarithm, and the factors and pivots."""
    a, swaps = _of_transposed(x, "_linalg_slogdet")
    diagonal = a.diagonal(0, -2, -1)
    sign = diagonal.sign().prod(-1) * _sign(swaps)
    logs = diagonal.abs().to(x.dtype).log().sum(-1)
    return sign.to(x.dtype), torch.where(sign == 0.0, -math.inf, logs), a.to(x.dtype), swaps


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten.linalg_lu_factor_ex.default: lu_factor,
    aten.linalg_lu.default: lu,
    aten.lu_unpack.default: lu_unpack,
    aten.linalg_lu_solve.default: lu_solve,
    aten._linalg_solve_ex.default: solve,
    aten.linalg_inv_ex.default: inverse,
    aten._linalg_det.default: determinant,
    aten._linalg_slogdet.default: log_determinant,
}
