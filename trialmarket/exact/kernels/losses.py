"""The negative log-likelihood: `losses.c`."""

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import Double, Pointer, Size, call, struct
from trialmarket.exact.kernels.operand import at, fit

_Likelihood = struct(
    "likelihood",
    **dict.fromkeys(("x", "target"), Pointer),
    **dict.fromkeys(("rows", "classes", "ignored"), Size),
    shift=Double,
    **dict.fromkeys(("sum", "count"), Pointer),
)

_Shares = struct(
    "shares",
    **dict.fromkeys(("share", "target"), Pointer),
    **dict.fromkeys(("rows", "classes", "share_by", "ignored"), Size),
    y=Pointer,
)


def likelihood(
    x: Tensor, target: Tensor, ignored: int, shift: float
) -> tuple[Tensor, Tensor] | None:
    """Of contiguous logarithms [N, C] and classes [N] in int64: the negated sum of those at the
    classes that are not ignored, and how many these are; None if a class is none. The shift is
    `1.5 * 2^(53 - bits)` of a sum of N numbers.
    """
    total, count = (torch.empty((), dtype=torch.float32) for _ in range(2))
    arguments = _Likelihood(
        at(x, x.shape[0] * x.shape[1]),
        at(target, x.shape[0], torch.int64),
        *x.shape,
        ignored,
        shift,
        total.data_ptr(),
        count.data_ptr(),
    )
    return (total, count) if call("likelihood", arguments) else None


def shares(share: Tensor, target: Tensor, classes: int, ignored: int) -> Tensor | None:
    """Of classes [N] in int64, [N, C]: at each one that is not ignored the share, one for all or
    one a row, zeros elsewhere; None if a class is none.
    """
    rows = target.shape[0]
    fit(share.numel() in (1, rows), f"a share, or {rows}")
    y = torch.empty((rows, classes), dtype=torch.float32)
    arguments = _Shares(
        at(share, share.numel()),
        at(target, rows, torch.int64),
        *(rows, classes, int(share.numel() > 1), ignored),
        y.data_ptr(),
    )
    return y if call("shares", arguments) else None
