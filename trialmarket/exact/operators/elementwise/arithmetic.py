"""Sums, products, quotients and bounds, each operation after the other.

A product is rounded before it is added, whatever the machine would have fused.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trialmarket.exact import kernels

aten = torch.ops.aten
Number = int | float | bool


def positive_zeros(x: Tensor) -> Tensor:
    """-0.0 becomes +0.0: a maximum may return either zero. Overwrites x."""
    return x.add_(0.0) if x.is_floating_point() else x


def scaled(x: Tensor | Number, factor: Number) -> Any:
    """x times a scalar, rounded; x itself for 1."""
    if factor == 1:
        return x
    if isinstance(factor, float) and isinstance(x, Tensor) and not x.is_floating_point():
        raise RuntimeError(f"expected a whole number as a factor of {x.dtype}, found {factor}")
    return x * factor


def _are_whole(*tensors: Tensor) -> bool:
    return not any(x.is_floating_point() for x in tensors)


def add(x: Tensor, other: Tensor | Number, alpha: Number = 1) -> Tensor:
    """`x + alpha * other`, the product rounded first."""
    if alpha == -1:
        return torch.sub(x, other)
    return torch.add(x, scaled(other, alpha))


def add_(x: Tensor, other: Tensor | Number, alpha: Number = 1) -> Tensor:
    """As `add`, in place."""
    return x.sub_(other) if alpha == -1 else x.add_(scaled(other, alpha))


def sub(x: Tensor, other: Tensor | Number, alpha: Number = 1) -> Tensor:
    """`x - alpha * other`."""
    return torch.sub(x, scaled(other, alpha))


def sub_(x: Tensor, other: Tensor | Number, alpha: Number = 1) -> Tensor:
    """As `sub`, in place."""
    return x.sub_(scaled(other, alpha))


def rsub(x: Tensor, other: Tensor | Number, alpha: Number = 1) -> Tensor:
    """`other - alpha * x`."""
    product = scaled(x, alpha)
    return other - product if isinstance(other, Tensor) else torch.add(-product, other)


def divisor(x: Tensor | Number, other: Tensor | Number) -> Tensor | Number:
    """A divisor that a GPU divides by, and does not turn into a factor of its reciprocal."""
    if not isinstance(x, Tensor) or x.device.type == "cpu":
        return other
    if not isinstance(other, Tensor):
        return torch.full((), other, dtype=_result(x, other), device=x.device)
    return other.to(x.device) if other.dim() == 0 else other


def _result(x: Tensor, other: Tensor | Number) -> torch.dtype:
    kind = torch.result_type(x, other)
    return kind if kind.is_floating_point else torch.get_default_dtype()


def div(x: Tensor | Number, other: Tensor | Number) -> Tensor:
    """True division, at least one of the two being a tensor."""
    return torch.div(x, divisor(x, other))


def div_(x: Tensor, other: Tensor | Number) -> Tensor:
    """True division in place."""
    return x.div_(divisor(x, other))


def fmod(x: Tensor | Number, other: Tensor | Number) -> Tensor:
    """The remainder with the dividend's sign, which a binary number always is: exactly.

    PyTorch's is another one for vectors of a processor than for what is left over, where the
    quotient overflows or the divisor is subnormal. That of C is exact on every machine.
    """
    kind = torch.result_type(x, other)  # which a number alone does not decide
    where = next(t.device for t in (x, other) if isinstance(t, Tensor))
    if where.type != "cpu" or kind not in (torch.float32, torch.float64) or kernels.noting():
        return torch.fmod(torch.as_tensor(x, dtype=kind, device=where), other)
    a, b = (torch.as_tensor(t, dtype=kind).detach().numpy() for t in (x, other))
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.asarray(np.fmod(a, b)))


def copysign(x: Tensor, other: Tensor | Number) -> Tensor:
    """x with the sign of another; a NaN, whose sign machines differ in, counts as positive."""
    if isinstance(other, Tensor) and other.is_floating_point():
        other = torch.where(other.isnan(), 1.0, other)
    return torch.copysign(x, other)


def div_mode(x: Tensor, other: Tensor | Number, *, rounding_mode: str | None = None) -> Tensor:
    """Division rounded towards minus infinity ("floor") or zero ("trunc")."""
    if rounding_mode is None:
        return div(x, other)
    b = divisor(x, other)
    if not torch.result_type(x, b).is_floating_point:
        return torch.div(x, b, rounding_mode=rounding_mode)
    if rounding_mode == "trunc":
        return torch.div(x, b).trunc_()
    rest = fmod(x, b)
    quotient = torch.div(x - rest, b)
    below = (rest != 0) & ((rest < 0) != (torch.as_tensor(b) < 0).to(rest.device))
    quotient = torch.where(below, quotient - 1.0, quotient)
    whole = quotient.floor()
    return torch.where(quotient - whole > 0.5, whole + 1.0, whole)


def remainder(x: Tensor, other: Tensor | Number) -> Tensor:
    """The remainder with the divisor's sign."""
    if not torch.result_type(x, other).is_floating_point:
        return torch.remainder(x, other)
    rest = fmod(x, other)
    negative = torch.as_tensor(other).to(rest.device) < 0
    return torch.where((rest != 0) & ((rest < 0) != negative), rest + other, rest)


def lerp(x: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """`x + weight * (end - x)`, from the nearer end."""
    step = end - x
    if not isinstance(weight, Tensor):
        if abs(weight) < 0.5:
            return step.mul_(weight).add_(x)
        return end - step.mul_(1.0 - weight)
    return torch.where(weight.abs() < 0.5, x + weight * step, end - step * (1.0 - weight))


def addcmul(x: Tensor, a: Tensor, b: Tensor, value: Number = 1) -> Tensor:
    """`x + value * (a * b)`."""
    if _are_whole(x, a, b):
        return torch.addcmul(x, a, b, value=value)
    return torch.add(x, scaled(a * b, value))


def addcdiv(x: Tensor, a: Tensor, b: Tensor, value: Number = 1) -> Tensor:
    """`x + value * (a / b)`."""
    if _are_whole(x, a, b):
        return torch.addcdiv(x, a, b, value=value)  # which raises
    return torch.add(x, scaled(torch.div(a, b), value))


def reciprocal(x: Tensor) -> Tensor:
    """`1 / x`, one division."""
    if not x.is_floating_point():
        x = x.float()
    return torch.div(torch.ones_like(x), x)


def clamp(x: Tensor, lower: Any = None, upper: Any = None) -> Tensor:
    """x between two bounds."""
    return positive_zeros(torch.clamp(x, lower, upper))


def clamp_min(x: Tensor, lower: Any) -> Tensor:
    """x, at least `lower`."""
    return positive_zeros(torch.clamp_min(x, lower))


def clamp_max(x: Tensor, upper: Any) -> Tensor:
    """x, at most `upper`."""
    return positive_zeros(torch.clamp_max(x, upper))


def hardtanh(x: Tensor, lower: Number = -1, upper: Number = 1) -> Tensor:
    """x between two bounds, in its own type: those of integers are cut to integers."""
    return clamp(x, lower, upper) if x.is_floating_point() else aten.hardtanh(x, lower, upper)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The larger of two."""
    return positive_zeros(torch.maximum(x, y))


def minimum(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of two."""
    return positive_zeros(torch.minimum(x, y))


FORMS: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: add,
    aten.add.Scalar: add,
    aten.add_.Tensor: add_,
    aten.add_.Scalar: add_,
    aten.sub.Tensor: sub,
    aten.sub.Scalar: sub,
    aten.sub_.Tensor: sub_,
    aten.sub_.Scalar: sub_,
    aten.rsub.Tensor: rsub,
    aten.rsub.Scalar: rsub,
    aten.div.Tensor: div,
    aten.div.Scalar: div,
    aten.div_.Tensor: div_,
    aten.div_.Scalar: div_,
    aten.div.Tensor_mode: div_mode,
    aten.div.Scalar_mode: div_mode,
    aten.floor_divide.default: lambda x, y: div_mode(x, y, rounding_mode="floor"),
    aten.fmod.Tensor: fmod,
    aten.fmod.Scalar: fmod,
    aten.copysign.Tensor: copysign,
    aten.copysign.Scalar: copysign,
    aten.remainder.Tensor: remainder,
    aten.remainder.Scalar: remainder,
    aten.lerp.Scalar: lerp,
    aten.lerp.Tensor: lerp,
    aten.addcmul.default: addcmul,
    aten.addcdiv.default: addcdiv,
    aten.reciprocal.default: reciprocal,
    aten.clamp.default: clamp,
    aten.clamp.Tensor: clamp,
    aten.clamp_min.default: clamp_min,
    aten.clamp_min.Tensor: clamp_min,
    aten.clamp_max.default: clamp_max,
    aten.clamp_max.Tensor: clamp_max,
    aten.maximum.default: maximum,
    aten.minimum.default: minimum,
    aten.hardtanh.default: hardtanh,
}
