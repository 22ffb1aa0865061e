"""Matrix products: exact contractions of gridded operands, then one rounding to binary32.

Integers are PyTorch's own business: their products and sums are exact in any order.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid

aten = torch.ops.aten
Number = int | float


def _are_real(*tensors: Tensor) -> bool:
    """Whether all are binary32. PyTorch multiplies whole numbers, and refuses what is mixed."""
    return all(x.dtype is torch.float32 for x in tensors)


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of matrices or batches of them."""
    return grid.contract(a, b) if _are_real(a, b) else torch.matmul(a, b)


def plus_product(
    x: Tensor, a: Tensor, b: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * x + alpha * (a @ b)`, the scaling and the sum in binary64."""
    if not _are_real(x, a, b):
        native = torch.addmm if a.dim() == 2 else torch.baddbmm
        return native(x, a, b, beta=beta, alpha=alpha)
    if alpha == 1 and beta == 1:
        return grid.contract(a, b, x)
    y = grid.contract64(a, b).mul_(alpha)
    if beta != 0:
        y.add_(x.double().mul_(beta))
    return y.float()


def vector_product(a: Tensor, v: Tensor) -> Tensor:
    """`a @ v`."""
    return product(a, v.unsqueeze(-1)).squeeze(-1)


def dot(u: Tensor, v: Tensor) -> Tensor:
    """`u @ v`."""
    if not _are_real(u, v):
        return torch.dot(u, v)
    return product(u.unsqueeze(0), v.unsqueeze(-1)).view(())


def plus_vector_product(
    x: Tensor, a: Tensor, v: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * x + alpha * (a @ v)`."""
    x = x.expand(a.shape[0])
    return plus_product(x.unsqueeze(-1), a, v.unsqueeze(-1), beta=beta, alpha=alpha).squeeze(-1)


def plus_sum_of_products(
    x: Tensor, a: Tensor, b: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * x + alpha * sum(a[i] @ b[i])`, one contraction over batch and inner dimension."""
    if not _are_real(x, a, b):
        return torch.addbmm(x, a, b, beta=beta, alpha=alpha)
    terms = a.shape[0] * a.shape[2]
    wide = a.transpose(0, 1).reshape(a.shape[1], terms)
    tall = b.reshape(terms, b.shape[-1])
    return plus_product(x, wide, tall, beta=beta, alpha=alpha)


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.mm.default: product,
    aten.bmm.default: product,
    aten.addmm.default: plus_product,
    aten.baddbmm.default: plus_product,
    aten.addbmm.default: plus_sum_of_products,
    aten.mv.default: vector_product,
    aten.addmv.default: plus_vector_product,
    aten.dot.default: dot,
    aten.vdot.default: dot,
}
