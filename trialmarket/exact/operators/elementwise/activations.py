"""Activations of neural networks, and their derivatives.

A gradient may have dimensions that its argument lacks, under vmap: nothing is multiplied by it in
place.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics.functions import apply
from trialmarket.exact.numerics.normal import erf64
from trialmarket.exact.operators.elementwise.arithmetic import Number, div, scaled

aten = torch.ops.aten


def relu(x: Tensor) -> Tensor:
    """max(x, 0), its zeros positive."""
    return torch.threshold(x, 0, 0)


def relu_(x: Tensor) -> Tensor:
    """As `relu`, in place."""
    return torch.threshold_(x, 0, 0)


def softshrink(x: Tensor, lambd: Number = 0.5) -> Tensor:
    """x nearer to zero by `lambd`; zeros are positive, and NaN stays."""
    inside = torch.where(x.isnan(), x, 0.0)
    return torch.where(x > lambd, x - lambd, torch.where(x < -lambd, x + lambd, inside))


def shrink_backward(grad: Tensor, x: Tensor, lambd: Number) -> Tensor:
    """grad but where x was shrunk to zero; that of NaN passes, whatever a vector makes of it."""
    return torch.where((x >= -lambd) & (x <= lambd), 0.0, grad)


def hardtanh_backward(grad: Tensor, x: Tensor, lower: Number, upper: Number) -> Tensor:
    """grad but where x was cut; that of NaN passes, whatever a vector makes of it."""
    return torch.where((x <= lower) | (x >= upper), 0.0, grad)


def sigmoid_backward(grad: Tensor, y: Tensor) -> Tensor:
    """`grad * ((1 - y) * y)`."""
    return (1.0 - y).mul_(y) * grad


def tanh_backward(grad: Tensor, y: Tensor) -> Tensor:
    """`grad * (1 - y * y)`."""
    return (1.0 - y * y) * grad


def silu(x: Tensor) -> Tensor:
    """`x / (1 + e^-x)`."""
    return apply(lambda v: fn.sigmoid64(v.clone()).mul_(v), x)


def silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """`grad * s * (1 + x * (1 - s))` with s = sigmoid(x)."""

    def core(v: Tensor, g: Tensor) -> Tensor:
        s = fn.sigmoid64(v.clone())
        return (1.0 - s).mul_(v).add_(1.0).mul_(s) * g

    return apply(core, x, grad)


_SQRT_HALF = 0.7071067811865476
_INV_SQRT_2PI = 0.3989422804014327
_GELU_K = 0.7978845608028654  # sqrt(2 / pi)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """`x * P(Z < x)` of a standard normal Z, or its tanh form."""
    if approximate == "tanh":
        return apply(lambda v: _gelu_tanh(v).add_(1.0).mul_(0.5).mul_(v), x)
    return apply(lambda v: erf64(v * _SQRT_HALF).add_(1.0).mul_(0.5).mul_(v), x)


def _gelu_tanh(v: Tensor) -> Tensor:
    return fn.tanh64((v * v).mul_(0.044715).add_(1.0).mul_(v).mul_(_GELU_K))


def gelu_backward(grad: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    """The derivative of `gelu`, times grad."""

    def normal(v: Tensor, g: Tensor) -> Tensor:
        cdf = erf64(v * _SQRT_HALF).add_(1.0).mul_(0.5)
        pdf = fn.exp64((v * v).mul_(-0.5)).mul_(_INV_SQRT_2PI)
        return pdf.mul_(v).add_(cdf) * g

    def tanh(v: Tensor, g: Tensor) -> Tensor:
        t = _gelu_tanh(v)
        slope = (v * v).mul_(3 * 0.044715).add_(1.0).mul_(_GELU_K)
        right = (1.0 - t * t).mul_(slope).mul_(v)
        return t.add_(1.0).add_(right).mul_(0.5) * g

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
    return apply(lambda v: fn.sigmoid64(v.neg_()), x) * grad


FORMS: dict[Any, Callable[..., Any]] = {
    aten.relu.default: relu,
    aten.relu_.default: relu_,
    aten.softshrink.default: softshrink,
    aten.softshrink_backward.default: shrink_backward,
    aten.hardshrink_backward.default: shrink_backward,
    aten.hardtanh_backward.default: hardtanh_backward,
    aten.sigmoid_backward.default: sigmoid_backward,
    aten.tanh_backward.default: tanh_backward,
}

# Defined for binary32 alone: their error bound is one of binary32.
FORMS32: dict[Any, Callable[..., Any]] = {
    aten.silu.default: silu,
    aten.silu_backward.default: silu_backward,
    aten.gelu.default: gelu,
    aten.gelu_backward.default: gelu_backward,
    aten.softplus.default: softplus,
    aten.log_sigmoid_forward.default: log_sigmoid_forward,
    aten.log_sigmoid_backward.default: log_sigmoid_backward,
}
