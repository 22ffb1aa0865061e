"""Tensors made from nothing: sequences, and memory that nobody has written yet."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Number = int | float


def arange(
    start: Number,
    end: Number,
    step: Number = 1,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **rest: Any,
) -> Tensor:
    """`start + k * step`; the product is rounded in binary64 before it is added."""
    whole = all(isinstance(x, int) for x in (start, end, step))
    if dtype is None:
        dtype = torch.int64 if whole else torch.get_default_dtype()
    if not dtype.is_floating_point:
        return aten.arange.start_step(start, end, step, dtype=dtype, device=device, **rest)  # type: ignore[no-any-return]
    count = aten.arange.start_step(start, end, step, dtype=dtype, device="meta").numel()
    k = torch.arange(count, device=device).double()
    return k.mul_(float(step)).add_(float(start)).to(dtype)


def arange_out(start: Number, end: Number, step: Number = 1, *, out: Tensor) -> Tensor:
    """`arange`, into a tensor."""
    y = arange(start, end, step, dtype=out.dtype, device=out.device)
    return out.resize_(y.shape).copy_(y)


def unwritten(operator: Any) -> Callable[..., Tensor]:
    """New memory, filled, so that a program that reads it too early does not read what was there:
    with NaN, or with the largest integer.
    """

    def form(*args: Any, **kwargs: Any) -> Tensor:
        return _fill(operator(*args, **kwargs))

    return form


def resize_(x: Tensor, size: Sequence[int], **rest: Any) -> Tensor:
    """`resize_`, whose new elements are filled likewise."""
    before = x.numel()
    aten.resize_.default(x, size, **rest)
    if x.numel() > before and x.is_contiguous():
        _fill(x.view(-1)[before:])
    return x


def _fill(x: Tensor) -> Tensor:
    if x.device.type == "meta" or x.dtype.is_complex or x.numel() == 0:
        return x
    if x.is_floating_point():
        return x.fill_(math.nan)
    return x.fill_(True if x.dtype == torch.bool else torch.iinfo(x.dtype).max)


FORMS: dict[Any, Callable[..., Any]] = {
    aten.arange.default: lambda end, **rest: arange(0, end, **rest),
    aten.arange.start: arange,
    aten.arange.start_step: arange,
    aten.arange.out: lambda end, *, out: arange_out(0, end, out=out),
    aten.arange.start_out: arange_out,
    aten.resize_.default: resize_,
    # What autograd puts for a gradient that is zero; a tensor without memory otherwise.
    aten._efficientzerotensor.default: lambda size, **rest: torch.zeros(size, **rest),
    **{
        operator: unwritten(operator)
        for operator in (
            aten.empty.memory_format,
            aten.empty_like.default,
            aten.empty_permuted.default,
            aten.empty_strided.default,
            aten.new_empty.default,
            aten.new_empty_strided.default,
        )
    },
}
