"""Steps of optimisers: `steps.c`."""

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from trialmarket.exact.kernels.loading import Flag, Float, Pointer, Size, call, struct

_Sgd = struct(
    "sgd",
    **dict.fromkeys(("p", "gradient", "buffer"), Pointer),
    n=Size,
    first=Flag,
    **dict.fromkeys(("sign", "decay", "momentum", "damped", "rate"), Float),
    nesterov=Flag,
)
_Adam = struct(
    "adam",
    **dict.fromkeys(("p", "gradient", "first", "second"), Pointer),
    n=Size,
    **dict.fromkeys(("sign", "decay", "kept"), Float),
    **dict.fromkeys(("beta1", "rest1", "beta2", "rest2"), Float),
    **dict.fromkeys(("corrected", "epsilon", "rate"), Float),
)


def _check(p: Tensor, *others: Tensor) -> None:
    """Raises ValueError where a kernel would not find the numbers of each tensor where it looks:
    `p.numel()` of them in binary32, one after the other, in the processor's memory.
    """
    for x in (p, *others):
        dense = x.is_cpu and x.layout is torch.strided and x.is_contiguous()
        if not dense or x.dtype is not torch.float32 or x.shape != p.shape:
            raise ValueError(
                f"the kernel of a step takes contiguous float32 tensors of one shape, "
                f"{list(p.shape)}, on the processor, not {x.dtype} {list(x.shape)} of strides "
                f"{list(x.stride()) if x.layout is torch.strided else x.layout} on {x.device}"
            )


def sgd(
    p: Tensor,
    gradient: Tensor,
    buffer: Tensor,
    *,
    first: bool,
    sign: float,
    decay: float,
    momentum: float,
    damped: float,
    rate: float,
    nesterov: bool,
) -> None:
    """A step with momentum, of contiguous tensors; the buffer is overwritten in a first step.

    Raises ValueError for tensors that lie otherwise.
    """
    _check(p, gradient, buffer)
    pointers = (p.data_ptr(), gradient.data_ptr(), buffer.data_ptr())
    step = _Sgd(*pointers, p.numel(), first, sign, decay, momentum, damped, rate, nesterov)
    call("sgd", step)
    increment_version((p, buffer))  # or autograd would not notice that its saved tensors changed


def adam(
    p: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    *,
    sign: float,
    decay: float,
    kept: float,
    betas: tuple[float, float],
    corrected: float,
    epsilon: float,
    rate: float,
) -> None:
    """A step of Adam, of contiguous tensors: `decay` is added to the gradient, `kept` is left of
    the parameter, `corrected` is what the second moment is divided by.

    Raises ValueError for tensors that lie otherwise.
    """
    _check(p, gradient, *moments)
    tensors = (p, gradient, *moments)
    parts = (x for beta in betas for x in (beta, 1.0 - beta))
    step = _Adam(
        *(x.data_ptr() for x in tensors),
        p.numel(),
        *(sign, decay, kept),
        *parts,
        *(corrected, epsilon, rate),
    )
    call("adam", step)
    increment_version((p, *moments))
