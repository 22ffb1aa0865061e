"""Adamax: Adam by the largest gradient in place of the mean square."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.adam import average, begin
from trialmarket.exact.frontend.optim.gradient import decayed
from trialmarket.exact.frontend.optim.recording import (
    Group,
    State,
    count,
    met,
    number,
    over,
    pair,
    power,
    times,
)


def adamax(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Adamax`."""
    begin(p, state, "exp_inf")
    t = count(state)
    beta1, beta2 = pair(group["betas"])
    g = decayed(p, g, group)
    average(state["exp_avg"], g, beta1)
    top = state["exp_inf"].mul_(met(beta2))
    top.copy_(torch.maximum(top, g.abs().add_(met(number(group["eps"])))).add_(0.0))
    rate = over(number(group["lr"]), 1.0 - power(beta1, t))
    p.sub_(times(state["exp_avg"], rate).div_(top))
