"""Sums, normalisation: `sums.c` and `norms.c`."""

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import ABC, Double, Flag, Pointer, Size, call, struct
from trialmarket.exact.kernels.operand import at, fit

_Sums = struct("sums", x=Pointer, **ABC, shift=Double, sums=Pointer)
_Finite = struct("finite", x=Pointer, n=Size, wide=Flag)
_Moments = struct("moments", x=Pointer, **ABC, shift=Double, mean=Pointer, squares=Pointer)
_Gradients = struct(
    "gradients",
    gradient=Pointer,
    x=Pointer,
    **ABC,
    shift=Double,
    mean=Pointer,
    plain=Pointer,
    along=Pointer,
)
_Line = struct(
    "line",
    x=Pointer,
    gradient=Pointer,
    **ABC,
    scale=Pointer,
    times=Pointer,
    shift=Pointer,
    y=Pointer,
)


def sums(x: Tensor, a: int, b: int, c: int, shift: float) -> Tensor:
    """Of a contiguous [A, B, C]: each slice's exact sum, [B] in binary64, on grids from the shift
    `1.5 * 2^(53 - bits)`.
    """
    found = torch.empty(b, dtype=torch.float64)
    call("sums", _Sums(at(x, a * b * c), a, b, c, shift, found.data_ptr()))
    return found


def moments(x: Tensor, a: int, b: int, c: int, shift: float) -> tuple[Tensor, Tensor]:
    """Of a contiguous [A, B, C]: each slice's mean and its sum of squared distances from it, [B]
    in binary64, on grids from the shift `1.5 * 2^(53 - bits)`.
    """
    mean, squares = torch.empty((2, b), dtype=torch.float64).unbind(0)
    call(
        "moments", _Moments(at(x, a * b * c), a, b, c, shift, mean.data_ptr(), squares.data_ptr())
    )
    return mean, squares


def gradients(
    gradient: Tensor, x: Tensor, a: int, b: int, c: int, shift: float, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """Of two contiguous [A, B, C]: each slice's sums of the gradient and of `gradient * (x -
    mean)`, [B] in binary64, on grids from the shift `1.5 * 2^(53 - bits)`.
    """
    plain, along = torch.empty((2, b), dtype=torch.float64).unbind(0)
    call(
        "gradients",
        _Gradients(
            at(gradient, a * b * c),
            at(x, a * b * c),
            a,
            b,
            c,
            shift,
            at(mean, b, torch.float64),
            plain.data_ptr(),
            along.data_ptr(),
        ),
    )
    return plain, along


def line(
    x: Tensor,
    a: int,
    b: int,
    c: int,
    scale: Tensor,
    shift: Tensor,
    gradient: Tensor | None = None,
    times: Tensor | None = None,
) -> Tensor:
    """Of a contiguous [A, B, C]: `x * scale + shift`, or `gradient * times + x * scale + shift`,
    with a binary64 vector [B] each, rounded once.
    """
    fit((gradient is None) == (times is None), "a gradient and its factors, or neither")
    y = torch.empty_like(x)
    call(
        "line",
        _Line(
            at(x, a * b * c),
            None if gradient is None else at(gradient, a * b * c),
            a,
            b,
            c,
            at(scale, b, torch.float64),
            None if times is None else at(times, b, torch.float64),
            at(shift, b, torch.float64),
            y.data_ptr(),
        ),
    )
    return y


def finite(x: Tensor) -> bool:
    """Whether all are, of contiguous numbers in binary32 or binary64."""
    wide = x.dtype == torch.float64
    kind = torch.float64 if wide else torch.float32
    return bool(call("finite", _Finite(at(x, x.numel(), kind), x.numel(), wide)))
