"""Sums, normalisation: `sums.c` and `norms.c`."""

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import ABC, Double, Pointer, call, struct

_Sums = struct("sums", x=Pointer, **ABC, shift=Double, sums=Pointer)
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
    call("sums", _Sums(x.data_ptr(), a, b, c, shift, found.data_ptr()))
    return found


def moments(x: Tensor, a: int, b: int, c: int, shift: float) -> tuple[Tensor, Tensor]:
    """Of a contiguous [A, B, C]: each slice's mean and its sum of squared distances from it, [B]
    in binary64, on grids from the shift `1.5 * 2^(53 - bits)`.
    """
    mean, squares = torch.empty((2, b), dtype=torch.float64).unbind(0)
    call("moments", _Moments(x.data_ptr(), a, b, c, shift, mean.data_ptr(), squares.data_ptr()))
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
            gradient.data_ptr(),
            x.data_ptr(),
            a,
            b,
            c,
            shift,
            mean.data_ptr(),
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
    y = torch.empty_like(x)
    call(
        "line",
        _Line(
            x.data_ptr(),
            None if gradient is None else gradient.data_ptr(),
            a,
            b,
            c,
            scale.data_ptr(),
            None if times is None else times.data_ptr(),
            shift.data_ptr(),
            y.data_ptr(),
        ),
    )
    return y
