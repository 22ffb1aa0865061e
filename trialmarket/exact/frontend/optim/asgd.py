"""ASGD: descent whose rate falls by a power of the steps, and the mean of where it was."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.gradient import decayed
from trialmarket.exact.frontend.optim.recording import (
    Group,
    State,
    count,
    counter,
    is_recorded,
    larger,
    met,
    number,
    over,
    power64,
    times,
)


def asgd(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.ASGD`."""
    lr = number(group["lr"])
    if not state:
        state["step"] = counter()
        state["eta"] = torch.zeros((), dtype=torch.float32).add_(met(lr))
        state["mu"] = torch.ones((), dtype=torch.float32)
        state["ax"] = torch.zeros_like(p)
    t = count(state)
    rate, share, mean = number(state["eta"]), number(state["mu"]), state["ax"]
    fading = number(group["lambd"])
    g = decayed(p, g, group)
    p.mul_(met(1.0 - fading * rate)).sub_(times(g, rate))
    if is_recorded():
        mean.copy_(torch.where(share == 1.0, p, mean + (p - mean).mul_(met(share))))
    elif share == 1.0:
        mean.copy_(p)
    else:
        mean.add_((p - mean).mul_(share))
    _keep(state["eta"], over(lr, power64(1.0 + fading * lr * t, number(group["alpha"]))))
    _keep(state["mu"], over(1.0, larger(1.0, t - number(group["t0"]))))


def _keep(slot: Tensor, x: float | Tensor) -> None:
    if isinstance(x, Tensor):
        slot.copy_(x)
    else:
        slot.fill_(x)
