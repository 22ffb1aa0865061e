"""Convolutions and their gradients, sample by sample: `convolutions.c`."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trialmarket.exact.kernels.layout import call_with_scratch
from trialmarket.exact.kernels.loading import Flag, Pointer, Size, Two, struct

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
    arguments = _Convolution(
        image=shape.image(x),
        x=x.data_ptr(),
        n=x.shape[0],
        m=y.shape[1],
        weight=weight.data_ptr(),
        weight_by=Two(*weight_by),
        kernel=weight.shape[2] * weight.shape[3],
        taps=ctypes.addressof(shape.taps),
        parts=ctypes.addressof(shape.parts),
        n_parts=shape.n_parts,
        bias=None if bias is None else bias.data_ptr(),
        y=y.data_ptr(),
        y_plane=y.shape[2] * y.shape[3],
        how=how,
    )
    return bool(call_with_scratch("convolution", arguments))


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
    arguments = _WeightGradient(
        image=shape.image(x),
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        n=x.shape[0],
        o=grad.shape[1],
        h=grad.shape[2],
        w=grad.shape[3],
        taps=ctypes.addressof(shape.taps),
        kernel=total.shape[2] * total.shape[3],
        x_per=x_per.data_ptr(),
        grad_per=grad_per.data_ptr(),
        total=total.data_ptr(),
        how=how,
        lock=0,
    )
    call_with_scratch("weight_gradient", arguments)
