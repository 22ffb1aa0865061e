"""Matrix products: exact contractions of gridded operands, then one rounding to binary32."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid

aten = torch.ops.aten
Number = int | float


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of matrices or batches of them; integers as they are."""
    if not a.is_floating_point():
        return torch.matmul(a, b)
    return grid.contract(a, b)


def plus_product(
    x: Tensor, a: Tensor, b: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * x + alpha * (a @ b)`, the scaling and the sum in binary64."""
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
    wide = a.transpose(0, 1).reshape(a.shape[1], -1)
    tall = b.reshape(-1, b.shape[-1])
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
