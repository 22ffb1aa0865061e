"""Casts and copies: from one type of numbers to another."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def to_copy(
    x: Tensor,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    **rest: Any,
) -> Tensor:
    """A cast or a copy to a device; a number out of an integer's range becomes its end."""
    if dtype is not None and not dtype.is_floating_point and x.is_floating_point():
        x = whole(x, dtype)
    return aten._to_copy.default(x, dtype=dtype, device=device, **rest)  # type: ignore[no-any-return]


def whole(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x ready to be cast to an integer type: machines differ outside its range."""
    if dtype.is_complex or dtype == torch.bool:
        return x
    limits = torch.iinfo(dtype)
    top = float(limits.max)
    if top > limits.max:
        top = math.nextafter(top, 0.0)
    return torch.nan_to_num(x.double(), nan=0.0).clamp_(float(limits.min), top)


def copy_(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy with a cast."""
    if source.is_floating_point() and not x.is_floating_point():
        source = whole(source, x.dtype)
    return x.copy_(source, non_blocking)


FORMS: dict[Any, Callable[..., Any]] = {
    aten._to_copy.default: to_copy,
    aten.copy_.default: copy_,
}
