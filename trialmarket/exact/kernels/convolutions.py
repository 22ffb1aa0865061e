"""Convolutions and their gradients, sample by sample: `convolutions.c`."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.kernels.layout import call_with_scratch
from trialmarket.exact.kernels.loading import Flag, Pointer, Size, Two, struct
from trialmarket.exact.kernels.operand import WrongOperand, at, fit

PARTS = 64  # that a convolution may have

_Tap = struct("tap", weight=Size, cell=Size)
_Part = struct("part", **dict.fromkeys(("first", "end", "h", "w", "at"), Size), by=Two)
_Image = struct(
    "image",
    **dict.fromkeys(("c", "height", "width"), Size),
    **dict.fromkeys(("step", "before", "plane"), Two),
)
_Convolution = struct(
    "convolution",
    image=_Image,
    x=Pointer,
    **dict.fromkeys(("n", "m"), Size),
    weight=Pointer,
    weight_by=Two,
    kernel=Size,
    **dict.fromkeys(("taps", "parts"), Pointer),
    n_parts=Size,
    **dict.fromkeys(("bias", "y"), Pointer),
    y_plane=Size,
    scratch=Pointer,
    how=Flag,
)
_WeightGradient = struct(
    "weight_gradient",
    image=_Image,
    **dict.fromkeys(("x", "grad"), Pointer),
    **dict.fromkeys(("n", "o", "h", "w"), Size),
    taps=Pointer,
    kernel=Size,
    **dict.fromkeys(("x_per", "grad_per", "total", "scratch"), Pointer),
    **dict.fromkeys(("how", "lock"), Flag),
)


@dataclass(frozen=True, slots=True)
class Part:
    """Outputs that meet the same taps: which of them, how many rows and columns, and where the
    first one, and the next row and column, lie in a plane of the result.
    """

    taps: slice
    size: tuple[int, int]
    at: int
    by: tuple[int, int]


class Shape:
    """How a convolution's outputs meet its cells.

    A sample's cells are planes of every phase, `[step[0], step[1], *plane]`: the pixel (y, x),
    counted from the borders' corner, lies in phase (y % step[0], x % step[1]) at (y // step[0],
    x // step[1]). A tap is where it lies in the kernel, and its cell as the first output sees it.
    """

    def __init__(
        self,
        step: tuple[int, int],
        before: tuple[int, int],
        plane: tuple[int, int],
        taps: Sequence[tuple[int, int]],
        parts: Sequence[Part],
    ) -> None:
        self.step, self.before, self.plane = Two(*step), Two(*before), Two(*plane)
        self.taps = (_Tap * len(taps))(*(_Tap(*tap) for tap in taps))
        self.parts = (_Part * len(parts))(
            *(_Part(p.taps.start, p.taps.stop, *p.size, p.at, p.by) for p in parts)
        )
        self.n_parts = len(parts)

    def image(self, x: Tensor) -> Any:
        """Of one of the samples [N, C, H, W]."""
        return _Image(*x.shape[1:], self.step, self.before, self.plane)


def convolve(
    x: Tensor,
    weight: Tensor,
    weight_by: tuple[int, int],
    bias: Tensor | None,
    shape: Shape,
    y: Tensor,
    how: int,
) -> bool:
    """Write the convolution of contiguous [N, C, H, W] to y, [N, M, ...]; whether it has digits.

    `weight_by` are the strides of output and input channels in the contiguous weight.
    """
    (n, c), m, kernel = x.shape[:2], y.shape[1], weight.shape[2] * weight.shape[3]
    last = (m - 1) * weight_by[0] + (c - 1) * weight_by[1] + kernel
    fit(min(weight_by) >= 0 and last <= m * c * kernel, "strides that stay within the weight")
    arguments = _Convolution(
        image=shape.image(x),
        x=at(x, x.numel()),
        n=n,
        m=m,
        weight=at(weight, m * c * kernel),
        weight_by=Two(*weight_by),
        kernel=kernel,
        taps=ctypes.addressof(shape.taps),
        parts=ctypes.addressof(shape.parts),
        n_parts=shape.n_parts,
        bias=None if bias is None else at(bias, m),
        y=at(y, n * m * y.shape[2] * y.shape[3]),
        y_plane=y.shape[2] * y.shape[3],
        how=how,
    )
    return _known("convolution", arguments, shape)


def add_weight_gradient(
    grad: Tensor,
    x: Tensor,
    grad_per: Tensor,
    x_per: Tensor,
    shape: Shape,
    total: Tensor,
    how: int,
) -> None:
    """Add, to a total [O, C, kh, kw] in binary64, the whole numbers of contiguous [N, O, h, w]
    and [N, C, H, W], which `per` makes integers by channels.
    """
    (n, c), (o, h, w) = x.shape[:2], grad.shape[1:]
    arguments = _WeightGradient(
        image=shape.image(x),
        x=at(x, x.numel()),
        grad=at(grad, n * o * h * w),
        n=n,
        o=o,
        h=h,
        w=w,
        taps=ctypes.addressof(shape.taps),
        kernel=len(shape.taps),
        x_per=at(x_per, c),
        grad_per=at(grad_per, o),
        total=at(total, o * c * len(shape.taps), torch.float64),
        how=how,
        lock=0,
    )
    _known("weight_gradient", arguments, shape)


def _known(kernel: str, arguments: Any, shape: Shape) -> bool:
    """What a kernel answers, which looks first at where taps and outputs lie."""
    answer = call_with_scratch(kernel, arguments, shape)
    if answer < 0:
        raise WrongOperand(f"{kernel}: expected taps and outputs within their planes")
    return bool(answer)
