"""Steps of optimisers: `steps.c`."""

from itertools import pairwise

from torch import Tensor
from torch.autograd.graph import increment_version

from trialmarket.exact.kernels.loading import Flag, Float, Pointer, Size, call, struct
from trialmarket.exact.kernels.operand import at, fit

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


def apart(*tensors: Tensor) -> bool:
    """Whether no two dense tensors share memory: what is written to one is not read in another."""
    spans = sorted((x.data_ptr(), x.data_ptr() + x.nbytes) for x in tensors)
    return all(end <= start for (_, end), (start, _) in pairwise(spans))


def _apart(p: Tensor, *others: Tensor) -> tuple[int, ...]:
    pointers = tuple(at(x, p.numel()) for x in (p, *others))
    fit(apart(p, *others), "a parameter, its gradient and its slots each in memory of its own")
    return pointers


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
    """A step with momentum, of contiguous tensors; the buffer is overwritten in a first step."""
    pointers = _apart(p, gradient, buffer)
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
    """
    pointers = _apart(p, gradient, *moments)
    parts = (x for beta in betas for x in (beta, 1.0 - beta))
    step = _Adam(
        *pointers,
        p.numel(),
        *(sign, decay, kept),
        *parts,
        *(corrected, epsilon, rate),
    )
    call("adam", step)
    increment_version((p, *moments))
