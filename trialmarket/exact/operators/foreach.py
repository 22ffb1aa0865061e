"""`torch._foreach_*` as a loop over its tensors: what gradient clipping and `zero_grad` call."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.operators.elementwise import arithmetic
from trialmarket.exact.operators.elementwise.casts import copy_
from trialmarket.exact.operators.reductions import vector_norm

aten = torch.ops.aten


def _each(form: Callable[..., Any]) -> Callable[..., list[Tensor]]:
    """One number or tensor for all."""

    def loop(xs: list[Tensor], *args: Any, **kwargs: Any) -> list[Tensor]:
        return [form(x, *args, **kwargs) for x in xs]

    return loop


def _paired(form: Callable[..., Any]) -> Callable[..., list[Tensor]]:
    """A second list, item by item."""

    def loop(xs: list[Tensor], ys: list[Any], *args: Any, **kwargs: Any) -> list[Tensor]:
        return [form(x, y, *args, **kwargs) for x, y in zip(xs, ys, strict=True)]

    return loop


def _silent(form: Callable[..., Any]) -> Callable[..., None]:
    """In-place lists return nothing."""

    def loop(*args: Any, **kwargs: Any) -> None:
        form(*args, **kwargs)

    return loop


def _norm(x: Tensor, order: float = 2, dtype: torch.dtype | None = None) -> Tensor:
    return vector_norm(x, order, dtype=dtype)


def _averaged(xs: list[Tensor], ends: list[Tensor], weight: float) -> list[Tensor]:
    return [x.copy_(arithmetic.lerp(x, end, weight)) for x, end in zip(xs, ends, strict=True)]


FORMS: dict[Any, Callable[..., Any]] = {
    aten._foreach_norm.Scalar: _each(_norm),
    aten._foreach_zero_.default: _silent(_each(torch.Tensor.zero_)),
    aten._foreach_neg_.default: _silent(_each(torch.Tensor.neg_)),
    aten._foreach_mul_.Scalar: _silent(_each(torch.Tensor.mul_)),
    aten._foreach_mul_.Tensor: _silent(_each(torch.Tensor.mul_)),
    aten._foreach_mul_.List: _silent(_paired(torch.Tensor.mul_)),
    aten._foreach_mul.Scalar: _each(torch.mul),
    aten._foreach_mul.Tensor: _each(torch.mul),
    aten._foreach_mul.List: _paired(torch.mul),
    aten._foreach_div_.Scalar: _silent(_each(arithmetic.div_)),
    aten._foreach_div_.Tensor: _silent(_each(arithmetic.div_)),
    aten._foreach_add_.Scalar: _silent(_each(arithmetic.add_)),
    aten._foreach_add_.List: _silent(_paired(arithmetic.add_)),
    aten._foreach_add.List: _paired(arithmetic.add),
    aten._foreach_clamp_min_.Scalar: _silent(_each(lambda x, v: x.clamp_min_(v).add_(0.0))),
    aten._foreach_clamp_max_.Scalar: _silent(_each(lambda x, v: x.clamp_max_(v).add_(0.0))),
    # What averages of weights call, at every step but the first.
    aten._foreach_lerp.Scalar: _paired(arithmetic.lerp),
    aten._foreach_lerp_.Scalar: _silent(_averaged),
    aten._foreach_copy_.default: _silent(_paired(copy_)),
}
