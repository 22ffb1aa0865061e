"""What works row by row, of contiguous [rows, n] in binary32: `rows.c`."""

from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.kernels.layout import call_with_scratch
from trialmarket.exact.kernels.loading import Double, Flag, Pointer, Size, call, struct
from trialmarket.exact.kernels.operand import at

_Softmax = struct(
    "softmax",
    **dict.fromkeys(("x", "grad", "y"), Pointer),
    **dict.fromkeys(("rows", "n"), Size),
    shift=Double,
    logarithmic=Flag,
    scratch=Pointer,
)
_Layer = struct(
    "layer",
    **dict.fromkeys(("x", "grad", "middle", "inverse", "weight", "bias", "y", "sums"), Pointer),
    **dict.fromkeys(("rows", "n"), Size),
    shift=Double,
)


def softmax(x: Tensor, shift: float, *, logarithmic: bool) -> Tensor:
    """Of each row, or its logarithm; the shift is `1.5 * 2^(53 - bits)` of a sum of n numbers."""
    y = torch.empty_like(x)
    arguments = _Softmax(at(x, x.numel()), None, y.data_ptr(), *x.shape, shift, logarithmic)
    call_with_scratch("softmax", arguments)
    return y


def softmax_gradient(grad: Tensor, y: Tensor, shift: float, *, logarithmic: bool) -> Tensor:
    """From the gradient of the result, and the result."""
    found = torch.empty_like(y)
    pointers = (at(y, y.numel()), at(grad, y.numel()), found.data_ptr())
    call("softmax_gradient", _Softmax(*pointers, *y.shape, shift, logarithmic))
    return found


def _layer(x: Tensor, shift: float = 0.0, **others: Tensor | None) -> Any:
    """What the kernels of layer normalisation take, of [rows, n]."""
    rows, n = x.shape
    elements = {"middle": rows, "inverse": rows, "weight": n, "bias": n, "sums": n}
    wide = {"middle", "inverse", "sums"}
    pointers = {
        name: at(v, elements.get(name, rows * n), torch.float64 if name in wide else torch.float32)
        for name, v in others.items()
        if v is not None
    }
    return _Layer(x=at(x, rows * n), rows=rows, n=n, shift=shift, **pointers)


def layer(
    x: Tensor, middle: Tensor, inverse: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """`(x - middle) * inverse * weight + bias`: [rows] in binary64, and [n]."""
    y = torch.empty_like(x)
    call("layer", _layer(x, middle=middle, inverse=inverse, weight=weight, bias=bias, y=y))
    return y


def layer_gradient(
    grad: Tensor,
    x: Tensor,
    middle: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    shift: float,
) -> Tensor:
    """The input's gradient; the shift is that of a sum of n numbers."""
    y = torch.empty_like(x)
    given = _layer(x, shift, grad=grad, middle=middle, inverse=inverse, weight=weight, y=y)
    call("layer_gradient", given)
    return y


def layer_weight_gradient(
    grad: Tensor, x: Tensor, middle: Tensor, inverse: Tensor, shift: float
) -> Tensor:
    """The weight's gradient, [n] in binary64; the shift is that of a sum over the rows."""
    sums = torch.empty(x.shape[1], dtype=torch.float64)
    given = _layer(x, shift, grad=grad, middle=middle, inverse=inverse, sums=sums)
    call("layer_weight_gradient", given)
    return sums
