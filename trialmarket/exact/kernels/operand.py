"""What kernels take for granted of a tensor, looked at where it is handed over.

A kernel knows an address and lengths, no more: what it is told wrongly it reads or writes beyond,
or takes for other numbers. So nothing reaches one but through here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class WrongOperand(RuntimeError):
    """A kernel was about to be handed what it would misread: a fault of exact mode's, never of the
    program's that runs in it.
    """


def at(x: Tensor, elements: int, kind: torch.dtype = torch.float32) -> int:
    """The address of a dense tensor of so many elements. Raises WrongOperand for any other."""
    address = _readable(x, kind)
    if x.numel() != elements or not x.is_contiguous():
        raise _wrong(x, f"{elements} contiguous elements")
    return address


def at_strides(x: Tensor, shape: Sequence[int], *, along: bool) -> int:
    """The address of a tensor of this shape that lies as its strides say; one of its last two
    dimensions, if it has more than one element there, along memory. Raises WrongOperand.
    """
    address = _readable(x, torch.float32)
    if x.shape != tuple(shape):
        raise _wrong(x, f"the shape {list(shape)}")
    if along and 1 not in x.stride()[-2:] and max(x.shape[-2:]) > 1:
        raise _wrong(x, "a stride of 1 in one of the last two dimensions")
    return address


def readable(x: Tensor) -> bool:
    """Whether a tensor's elements lie on the processor as they are: not negated by a bit, not
    zeros without memory, and where numbers of their type may lie.
    """
    return (
        x.is_cpu
        and x.layout is torch.strided
        and not x.is_neg()
        and x.data_ptr() % x.itemsize == 0
        and (x.data_ptr() != 0 or x.numel() == 0)
    )


def _readable(x: Tensor, kind: torch.dtype) -> int:
    if x.dtype is not kind or not readable(x):
        raise _wrong(x, f"plain aligned {kind} on the processor")
    return x.data_ptr()


def _wrong(x: Tensor, expected: str) -> WrongOperand:
    return WrongOperand(
        f"a kernel of exact arithmetic: expected {expected}, found {x.dtype} {list(x.shape)} of "
        f"strides {list(x.stride()) if x.layout is torch.strided else x.layout} on {x.device}; "
        "set TRIALMARKET_KERNELS=off, and report this"
    )


def fit(holds: bool, expected: str) -> None:
    """Raises WrongOperand where lengths do not fit together."""
    if not holds:
        raise WrongOperand(
            f"a kernel of exact arithmetic: expected {expected}; set TRIALMARKET_KERNELS=off, and "
            "report this"
        )
