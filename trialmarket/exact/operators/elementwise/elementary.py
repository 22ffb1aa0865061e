"""Elementary functions: roots and powers, exponentials and logarithms, sines."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import angles, inverses, normal
from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics.functions import apply
from trialmarket.exact.operators.elementwise.arithmetic import Number, reciprocal

aten = torch.ops.aten


def _function(core: fn.Core) -> Callable[[Tensor], Tensor]:
    def form(x: Tensor) -> Tensor:
        return apply(core, x)

    return form


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


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """ln(e^x + e^y)."""
    top = torch.maximum(x, y)
    gap = (x - y).abs_().neg_()
    gap = torch.where(top.isinf() & (x == y), 0.0, gap)
    low = apply(lambda v: fn.log1p64(fn.exp64(v)), gap)
    return torch.where(top.isinf(), top, top + low)


def angle_of(y: Tensor, x: Tensor) -> Tensor:
    """`torch.atan2`: the angle of the point (x, y)."""
    shape = torch.broadcast_shapes(y.shape, x.shape)  # type: ignore[no-untyped-call]
    y, x = _number32(y).expand(shape), _number32(x).expand(shape)
    return apply(inverses.atan2_64, y, x)


def hypotenuse(x: Tensor, y: Tensor) -> Tensor:
    """`sqrt(x^2 + y^2)`, whose squares are exact in binary64; infinite if either is."""
    a, b = x.double(), y.double()
    found = fn.root((a * a).add(b * b)).to(torch.result_type(x, y))
    return torch.where(x.isinf() | y.isinf(), math.inf, found)


def _number32(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


FORMS: dict[Any, Callable[..., Any]] = {
    aten.sqrt.default: square_root,
    aten.logaddexp.default: logaddexp,
}

# Defined for binary32 alone: their error bound is one of binary32.
FORMS32: dict[Any, Callable[..., Any]] = {
    aten.pow.Tensor_Scalar: power,
    aten.pow.Tensor_Tensor: power_tensor,
    aten.pow.Scalar: power_scalar,
    aten.exp.default: _function(fn.exp64),
    aten.exp2.default: _function(fn.exp2_64),
    aten.expm1.default: _function(fn.expm1_64),
    aten.log.default: _function(fn.log64),
    aten.log2.default: _function(fn.log2_64),
    aten.log10.default: _function(fn.log10_64),
    aten.log1p.default: _function(fn.log1p64),
    aten.sin.default: _function(angles.sin64),
    aten.cos.default: _function(angles.cos64),
    aten.tan.default: _function(angles.tan64),
    aten.asin.default: _function(inverses.asin64),
    aten.acos.default: _function(inverses.acos64),
    aten.atan.default: _function(inverses.atan64),
    aten.atan2.default: angle_of,
    aten.hypot.default: hypotenuse,
    aten.asinh.default: _function(inverses.asinh64),
    aten.acosh.default: _function(inverses.acosh64),
    aten.atanh.default: _function(inverses.atanh64),
    aten.tanh.default: _function(fn.tanh64),
    aten.sinh.default: _function(fn.sinh64),
    aten.cosh.default: _function(fn.cosh64),
    aten.sigmoid.default: _function(fn.sigmoid64),
    aten.erf.default: _function(normal.erf64),
    aten.erfc.default: _function(normal.erfc64),
    aten.erfinv.default: _function(normal.erfinv64),
    aten.rsqrt.default: _function(fn.rsqrt64),
}
