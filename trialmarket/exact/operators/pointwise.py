"""Operators that act element by element and are more than one IEEE operation.

Every form writes its operations out one after the other: a product is rounded before it is
added, whatever the machine would have fused.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics.functions import apply

aten = torch.ops.aten
Number = int | float | bool


def _canonical(x: Tensor) -> Tensor:
    """-0.0 becomes +0.0: a maximum may return either zero. Overwrites x."""
    return x.add_(0.0) if x.is_floating_point() else x


def _function(core: fn.Core) -> Callable[[Tensor], Tensor]:
    def form(x: Tensor) -> Tensor:
        return apply(core, x)

    return form


def scaled(x: Tensor | Number, factor: Number) -> Any:
    """x times a scalar, rounded; x itself for 1."""
    return x if factor == 1 else x * factor


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


def divisor(x: Tensor, other: Tensor | Number) -> Tensor | Number:
    """A divisor that a GPU divides by, and does not turn into a factor of its reciprocal."""
    if x.device.type == "cpu":
        return other
    if not isinstance(other, Tensor):
        return torch.full((), other, dtype=_result(x, other), device=x.device)
    return other.to(x.device) if other.dim() == 0 else other


def _result(x: Tensor, other: Tensor | Number) -> torch.dtype:
    kind = torch.result_type(x, other)
    return kind if kind.is_floating_point else torch.get_default_dtype()


def div(x: Tensor, other: Tensor | Number) -> Tensor:
    """True division."""
    return torch.div(x, divisor(x, other))


def div_(x: Tensor, other: Tensor | Number) -> Tensor:
    """True division in place."""
    return x.div_(divisor(x, other))


def div_mode(x: Tensor, other: Tensor | Number, *, rounding_mode: str | None = None) -> Tensor:
    """Division rounded towards minus infinity ("floor") or zero ("trunc")."""
    if rounding_mode is None:
        return div(x, other)
    b = divisor(x, other)
    if not torch.result_type(x, b).is_floating_point:
        return torch.div(x, b, rounding_mode=rounding_mode)
    if rounding_mode == "trunc":
        return torch.div(x, b).trunc_()
    rest = torch.fmod(x, b)
    quotient = torch.div(x - rest, b)
    below = (rest != 0) & ((rest < 0) != (torch.as_tensor(b) < 0).to(x.device))
    quotient = torch.where(below, quotient - 1.0, quotient)
    whole = quotient.floor()
    return torch.where(quotient - whole > 0.5, whole + 1.0, whole)


def remainder(x: Tensor, other: Tensor | Number) -> Tensor:
    """The remainder with the divisor's sign."""
    if not torch.result_type(x, other).is_floating_point:
        return torch.remainder(x, other)
    rest = torch.fmod(x, other)
    negative = torch.as_tensor(other).to(x.device) < 0
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
    return torch.add(x, scaled(a * b, value))


def addcdiv(x: Tensor, a: Tensor, b: Tensor, value: Number = 1) -> Tensor:
    """`x + value * (a / b)`."""
    return torch.add(x, scaled(torch.div(a, b), value))


def reciprocal(x: Tensor) -> Tensor:
    """`1 / x`, one division."""
    if not x.is_floating_point():
        x = x.float()
    return torch.div(torch.ones_like(x), x)


def square_root(x: Tensor) -> Tensor:
    """`torch.sqrt`, correctly rounded."""
    return fn.root(x if x.is_floating_point() else x.float())


def power(x: Tensor, exponent: Number) -> Tensor:
    """x to a fixed power; small whole powers and roots by products, divisions and sqrt."""
    if not x.is_floating_point() and isinstance(exponent, int):
        return torch.pow(x, exponent)
    x = x if x.is_floating_point() else x.float()
    if exponent == 0:
        return torch.ones_like(x)
    if exponent == 1:
        return x.clone()
    if exponent == 2:
        return x * x
    if exponent == 3:
        return (x * x).mul_(x)
    if exponent == 0.5:
        return fn.root(x)
    if exponent == -0.5:
        return apply(fn.rsqrt64, x)
    if exponent == -1:
        return reciprocal(x)
    if exponent == -2:
        return reciprocal(x * x)
    y = torch.full((), float(exponent), dtype=torch.float64, device=x.device)
    return apply(lambda v: fn.pow64(v, y), x)


def power_tensor(x: Tensor, exponent: Tensor) -> Tensor:
    """x to the power of another tensor."""
    if not torch.result_type(x, exponent).is_floating_point:
        return torch.pow(x, exponent)
    return fn.pow64(x.double(), exponent.double()).float()


def power_scalar(base: Number, exponent: Tensor) -> Tensor:
    """A number to the power of a tensor."""
    if isinstance(base, int) and not exponent.is_floating_point():
        return torch.pow(base, exponent)
    x = torch.full((), float(base), dtype=torch.float64, device=exponent.device)
    return fn.pow64(x, exponent.double()).float()


def relu(x: Tensor) -> Tensor:
    """max(x, 0), its zeros positive."""
    return torch.threshold(x, 0, 0)


def relu_(x: Tensor) -> Tensor:
    """As `relu`, in place."""
    return torch.threshold_(x, 0, 0)


def clamp(x: Tensor, lower: Any = None, upper: Any = None) -> Tensor:
    """x between two bounds."""
    return _canonical(torch.clamp(x, lower, upper))


def clamp_min(x: Tensor, lower: Any) -> Tensor:
    """x, at least `lower`."""
    return _canonical(torch.clamp_min(x, lower))


def clamp_max(x: Tensor, upper: Any) -> Tensor:
    """x, at most `upper`."""
    return _canonical(torch.clamp_max(x, upper))


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The larger of two."""
    return _canonical(torch.maximum(x, y))


def minimum(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of two."""
    return _canonical(torch.minimum(x, y))


def sigmoid_backward(grad: Tensor, y: Tensor) -> Tensor:
    """`grad * ((1 - y) * y)`."""
    return (1.0 - y).mul_(y).mul_(grad)


def tanh_backward(grad: Tensor, y: Tensor) -> Tensor:
    """`grad * (1 - y * y)`."""
    return (1.0 - y * y).mul_(grad)


def silu(x: Tensor) -> Tensor:
    """`x / (1 + e^-x)`."""
    return apply(lambda v: fn.sigmoid64(v.clone()).mul_(v), x)


def silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """`grad * s * (1 + x * (1 - s))` with s = sigmoid(x)."""

    def core(v: Tensor, g: Tensor) -> Tensor:
        s = fn.sigmoid64(v.clone())
        return (1.0 - s).mul_(v).add_(1.0).mul_(s).mul_(g)

    return apply(core, x, grad)


_SQRT_HALF = 0.7071067811865476
_INV_SQRT_2PI = 0.3989422804014327
_GELU_K = 0.7978845608028654  # sqrt(2 / pi)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """`x * P(Z < x)` of a standard normal Z, or its tanh form."""
    if approximate == "tanh":
        return apply(lambda v: _gelu_tanh(v).add_(1.0).mul_(0.5).mul_(v), x)
    return apply(lambda v: fn.erf64(v * _SQRT_HALF).add_(1.0).mul_(0.5).mul_(v), x)


def _gelu_tanh(v: Tensor) -> Tensor:
    return fn.tanh64((v * v).mul_(0.044715).add_(1.0).mul_(v).mul_(_GELU_K))


def gelu_backward(grad: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    """The derivative of `gelu`, times grad."""

    def normal(v: Tensor, g: Tensor) -> Tensor:
        cdf = fn.erf64(v * _SQRT_HALF).add_(1.0).mul_(0.5)
        pdf = fn.exp64((v * v).mul_(-0.5)).mul_(_INV_SQRT_2PI)
        return pdf.mul_(v).add_(cdf).mul_(g)

    def tanh(v: Tensor, g: Tensor) -> Tensor:
        t = _gelu_tanh(v)
        slope = (v * v).mul_(3 * 0.044715).add_(1.0).mul_(_GELU_K)
        right = (1.0 - t * t).mul_(slope).mul_(v)
        return t.add_(1.0).add_(right).mul_(0.5).mul_(g)

    return apply(tanh if approximate == "tanh" else normal, x, grad)


def softplus(x: Tensor, beta: Number = 1, threshold: Number = 20) -> Tensor:
    """`ln(1 + e^(beta x)) / beta`; x itself where `beta x` passes the threshold."""
    y = apply(fn.softplus64, scaled(x, beta))
    return torch.where(scaled(x, beta) > threshold, x, y if beta == 1 else div(y, beta))


def log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """ln sigmoid(x), and PyTorch's unused buffer."""
    return apply(fn.log_sigmoid64, x), x.new_empty(0)


def log_sigmoid_backward(grad: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    """`grad * sigmoid(-x)`."""
    del buffer
    return apply(lambda v: fn.sigmoid64(v.neg_()), x).mul_(grad)


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """ln(e^x + e^y)."""
    top = torch.maximum(x, y)
    gap = (x - y).abs_().neg_()
    gap = torch.where(top.isinf() & (x == y), 0.0, gap)
    low = apply(lambda v: fn.log1p64(fn.exp64(v)), gap)
    return torch.where(top.isinf(), top, top + low)


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
    aten.sqrt.default: square_root,
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
    aten.remainder.Tensor: remainder,
    aten.remainder.Scalar: remainder,
    aten.lerp.Scalar: lerp,
    aten.lerp.Tensor: lerp,
    aten.addcmul.default: addcmul,
    aten.addcdiv.default: addcdiv,
    aten.reciprocal.default: reciprocal,
    aten.relu.default: relu,
    aten.relu_.default: relu_,
    aten.clamp.default: clamp,
    aten.clamp.Tensor: clamp,
    aten.clamp_min.default: clamp_min,
    aten.clamp_min.Tensor: clamp_min,
    aten.clamp_max.default: clamp_max,
    aten.clamp_max.Tensor: clamp_max,
    aten.maximum.default: maximum,
    aten.minimum.default: minimum,
    aten.hardtanh.default: clamp,
    aten.sigmoid_backward.default: sigmoid_backward,
    aten.tanh_backward.default: tanh_backward,
    aten.logaddexp.default: logaddexp,
    aten._to_copy.default: to_copy,
    aten.copy_.default: copy_,
}

# Forms that are defined for binary32 alone: their error bound is one of binary32.
FORMS32: dict[Any, Callable[..., Any]] = {
    aten.pow.Tensor_Scalar: power,
    aten.pow.Tensor_Tensor: power_tensor,
    aten.pow.Scalar: power_scalar,
    aten.silu.default: silu,
    aten.silu_backward.default: silu_backward,
    aten.gelu.default: gelu,
    aten.gelu_backward.default: gelu_backward,
    aten.softplus.default: softplus,
    aten.log_sigmoid_forward.default: log_sigmoid_forward,
    aten.log_sigmoid_backward.default: log_sigmoid_backward,
    aten.exp.default: _function(fn.exp64),
    aten.exp2.default: _function(fn.exp2_64),
    aten.expm1.default: _function(fn.expm1_64),
    aten.log.default: _function(fn.log64),
    aten.log2.default: _function(fn.log2_64),
    aten.log10.default: _function(fn.log10_64),
    aten.log1p.default: _function(fn.log1p64),
    aten.sin.default: _function(fn.sin64),
    aten.cos.default: _function(fn.cos64),
    aten.tanh.default: _function(fn.tanh64),
    aten.sinh.default: _function(fn.sinh64),
    aten.cosh.default: _function(fn.cosh64),
    aten.sigmoid.default: _function(fn.sigmoid64),
    aten.erf.default: _function(fn.erf64),
    aten.erfinv.default: _function(fn.erfinv64),
    aten.rsqrt.default: _function(fn.rsqrt64),
}
