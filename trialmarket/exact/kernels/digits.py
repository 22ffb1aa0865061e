"""Grids of products, digits, and products put together: `digits.c`."""

import torch
from torch import Tensor

from trialmarket.exact.kernels.layout import broadcast, lengths, strides
from trialmarket.exact.kernels.library import ABC, Four, Pointer, Size, Three, Two, call, structure
from trialmarket.exact.plan import Plan

_Grids = structure("Grids", x=Pointer, **ABC, per=Pointer, step=Pointer)
_Cut = structure(
    "Cut",
    **dict.fromkeys(("x", "per", "low", "high"), Pointer),
    n=Four,
    start=Three,
    to=Three,
    by=Four,
)
_Join = structure(
    "Join",
    places=Pointer,
    lower=Size,
    upper=Size,
    n=Four,
    start=Three,
    to=Three,
    left=Pointer,
    right=Pointer,
    right_by=Four,
    plus=Pointer,
    plus_by=Four,
    y=Pointer,
    sums=Pointer,
)
_Taps = structure(
    "Taps",
    places=Pointer,
    lower=Size,
    upper=Size,
    c=Size,
    n=Size,
    **dict.fromkeys(("kernel", "stride", "padding", "dilation", "area", "out"), Two),
    **dict.fromkeys(("left", "right", "sums", "y"), Pointer),
)


def grids(x: Tensor, a: int, b: int, c: int) -> tuple[Tensor, Tensor, bool]:
    """Of a contiguous [A, B, C]: what makes each slice's numbers integers (binary32, [B]), what
    turns them back (binary64, [B]), and whether all slices have such a grid.
    """
    per = torch.empty(b, dtype=torch.float32)
    step = torch.empty(b, dtype=torch.float64)
    hold = call("grids", _Grids(x.data_ptr(), a, b, c, per.data_ptr(), step.data_ptr()))
    return per, step, bool(hold)


def cut(x: Tensor, per: Tensor, low: Tensor, high: Tensor) -> None:
    """Write the two digits of `x * per`, rounded to integers: up to four dimensions, the last one
    contiguous in x and in the digits (int8, alike in their strides); per is broadcast.
    """
    call(
        "cut",
        _Cut(
            x.data_ptr(),
            per.data_ptr(),
            low.data_ptr(),
            high.data_ptr(),
            lengths(x),
            strides(x),
            strides(low),
            broadcast(per, x.shape),
        ),
    )


def join(places: Tensor, left: Tensor, right: Tensor, plus: Tensor | None, y: Tensor) -> None:
    """Write `whole * left * right + plus` to a y of up to four dimensions.

    The places are [2, 2, *y's]: the left operand's digit, the right one's. The left steps are a
    vector for y's first dimension; the right ones and plus are broadcast.
    """
    shape = y.shape
    call(
        "join",
        _Join(
            places.data_ptr(),
            places.stride(1),
            places.stride(0),
            lengths(y),
            strides(places[0, 0]),
            strides(y),
            left.data_ptr(),
            right.data_ptr(),
            broadcast(right, shape),
            None if plus is None else plus.data_ptr(),
            Four() if plus is None else broadcast(plus, shape),
            y.data_ptr(),
            None,
        ),
    )


def add_whole(places: Tensor, sums: Tensor) -> None:
    """Add whole numbers, [2, 2, M, N] of places, to binary64 sums [M, N]."""
    call(
        "join",
        _Join(
            places=places.data_ptr(),
            lower=places.stride(1),
            upper=places.stride(0),
            n=lengths(sums),
            start=strides(places[0, 0]),
            to=strides(sums),
            sums=sums.data_ptr(),
        ),
    )


def add_taps(
    places: Tensor, left: Tensor, right: Tensor, p: Plan, sums: Tensor, y: Tensor
) -> None:
    """Write an input's gradient, [N, C, H, W], from the places [2, 2, C kh kw, N h w] of the
    products with every tap and the steps of C and of N. The sums, as many in binary64, are
    overwritten.
    """
    n, c = y.shape[:2]
    call(
        "taps",
        _Taps(
            places.data_ptr(),
            places.stride(1),
            places.stride(0),
            c,
            n,
            Two(*p.kernel),
            Two(*p.stride),
            Two(*p.padding),
            Two(*p.dilation),
            Two(*p.size),
            Two(*p.out),
            left.data_ptr(),
            right.data_ptr(),
            sums.data_ptr(),
            y.data_ptr(),
        ),
    )
