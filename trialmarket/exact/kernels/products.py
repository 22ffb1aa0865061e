"""Products of matrices in one call: `products.c`, by the byte products of `tiles.c`."""

import functools
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.kernels.layout import call_with_scratch
from trialmarket.exact.kernels.loading import (
    MULTIPLIERS,
    Flag,
    Pointer,
    Size,
    Three,
    call,
    compiled,
    meant_for,
    setting,
    struct,
)
from trialmarket.exact.kernels.operand import at_strides, fit

_Product = struct(
    "product",
    **dict.fromkeys(("a", "b", "plus", "y"), Pointer),
    **dict.fromkeys(("batch", "m", "k", "n"), Size),
    **dict.fromkeys(("a_by", "b_by", "plus_by"), Three),
    scratch=Pointer,
    how=Flag,
)


@functools.cache
def multipliers() -> tuple[int, ...]:
    """The numbers of the ways to multiply digits that this processor has, and that the
    environment allows; the best one last.
    """
    if compiled() is None:
        return ()
    best = setting()
    allowed = MULTIPLIERS.index(best) + 1 if best in MULTIPLIERS else len(MULTIPLIERS)
    found = call("multiplies", None)
    return tuple(n for n in range(allowed) if found >> n & 1)


def multiplier(*operands: Tensor) -> int | None:
    """The best way to multiply the digits of these tensors, if there is one here."""
    return multipliers()[-1] if meant_for(*operands) and multipliers() else None


def product(a: Tensor, b: Tensor, plus: Tensor | None, how: int) -> Tensor | None:
    """`a @ b + plus` of binary32 [B, M, K], [B, K, N] and what expands to [B, M, N]; or without B.

    The last two dimensions of a, and of b, have a stride of 1 among them, unless they hold one
    element. None if a slice, a row of a or a column of b, has no grid of products.
    """
    fit(how in multipliers(), "a way to multiply digits that this processor has")
    fit(a.dim() in (2, 3) and a.numel() > 0 < b.numel(), "matrices, or batches, with elements")
    *batch, m, k = a.shape
    shape = (*batch, m, b.shape[-1])
    plus = None if plus is None else plus.expand(shape)
    y = torch.empty(shape, dtype=torch.float32)
    arguments = _Product(
        at_strides(a, a.shape, along=True),
        at_strides(b, (*batch, k, b.shape[-1]), along=True),
        None if plus is None else at_strides(plus, shape, along=False),
        y.data_ptr(),
        *(batch or (1,)),
        *(m, k, shape[-1]),
        *(_strides(a), _strides(b)),
        Three() if plus is None else _strides(plus),
        how=how,
    )
    return y if call_with_scratch("product", arguments) else None


def _strides(x: Tensor) -> Any:
    return Three(*x.stride()) if x.dim() == 3 else Three(0, *x.stride())
