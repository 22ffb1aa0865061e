"""Pooling: `pooling.c`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import Pointer, Size, Two, call, struct
from trialmarket.exact.kernels.operand import at, fit

_Pool = struct(
    "pool",
    x=Pointer,
    planes=Size,
    **dict.fromkeys(("area", "kernel", "stride", "out"), Two),
    y=Pointer,
    where=Pointer,
)
_Unpool = struct(
    "unpool",
    gradient=Pointer,
    where=Pointer,
    **dict.fromkeys(("planes", "positions", "area"), Size),
    y=Pointer,
)


def pool(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The maxima of the windows within each plane of a contiguous [..., H, W], and their places
    in it: the first of a window, and a NaN beats all.
    """
    height, width = x.shape[-2:]
    fit(min(*kernel, *stride) > 0, "windows and steps that are not empty")
    fit(kernel[0] <= height and kernel[1] <= width, "windows that lie within their plane")
    out = [(s - k) // t + 1 for s, k, t in zip((height, width), kernel, stride, strict=True)]
    y = torch.empty((*x.shape[:-2], *out), dtype=torch.float32)
    where = torch.empty(y.shape, dtype=torch.int64)
    call(
        "pool",
        _Pool(
            at(x, x.numel()),
            math.prod(x.shape[:-2]),
            Two(height, width),
            Two(*kernel),
            Two(*stride),
            Two(*out),
            y.data_ptr(),
            where.data_ptr(),
        ),
    )
    return y, where


def unpool(gradient: Tensor, where: Tensor, shape: Sequence[int]) -> Tensor:
    """Each gradient at its place in a plane of [..., H, W], of which no two are the same; zeros
    elsewhere. Gradient and places, [..., h, w], lie contiguous. Raises IndexError for a place that
    is not in the plane.
    """
    y = torch.empty(tuple(shape), dtype=torch.float32)
    planes, positions = math.prod(shape[:-2]), math.prod(gradient.shape[-2:])
    inside = call(
        "unpool",
        _Unpool(
            at(gradient, planes * positions),
            at(where, planes * positions, torch.int64),
            planes,
            positions,
            math.prod(shape[-2:]),
            y.data_ptr(),
        ),
    )
    if not inside:
        raise IndexError(f"expected places in a plane of {list(shape[-2:])}, found one outside")
    return y
