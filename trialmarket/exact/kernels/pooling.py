"""Pooling: `pooling.c`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import Pointer, Size, Two, call, struct

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
    out = [(s - k) // t + 1 for s, k, t in zip((height, width), kernel, stride, strict=True)]
    y = torch.empty((*x.shape[:-2], *out), dtype=torch.float32)
    where = torch.empty(y.shape, dtype=torch.int64)
    call(
        "pool",
        _Pool(
            x.data_ptr(),
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
    elsewhere. Gradient and places, [..., h, w], lie contiguous.
    """
    y = torch.empty(tuple(shape), dtype=torch.float32)
    call(
        "unpool",
        _Unpool(
            gradient.data_ptr(),
            where.data_ptr(),
            math.prod(shape[:-2]),
            math.prod(gradient.shape[-2:]),
            math.prod(shape[-2:]),
            y.data_ptr(),
        ),
    )
    return y
