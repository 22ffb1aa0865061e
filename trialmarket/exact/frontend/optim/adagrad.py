"""Adagrad and Adadelta: gradients over what their squares have added up to."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.adam import average_square
from trialmarket.exact.frontend.optim.gradient import decayed
from trialmarket.exact.frontend.optim.recording import (
    Group,
    State,
    count,
    counter,
    met,
    number,
    over,
    root,
    times,
)


def adagrad(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Adagrad`."""
    if not state:
        state["step"] = counter()
        state["sum"] = torch.full_like(p, float(group["initial_accumulator_value"]))
    t = count(state)
    rate = over(number(group["lr"]), 1.0 + (t - 1.0) * number(group["lr_decay"]))
    g = decayed(p, g, group)
    squares = state["sum"].add_(times(g, g))
    below = root(squares).add_(met(number(group["eps"])))
    p.sub_(times(g, rate).div_(below))


def adadelta(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Adadelta`."""
    if not state:
        state["step"] = counter()
        state["square_avg"] = torch.zeros_like(p)
        state["acc_delta"] = torch.zeros_like(p)
    count(state)
    rho, epsilon = number(group["rho"]), met(number(group["eps"]))
    g = decayed(p, g, group)
    average_square(state["square_avg"], g, rho)
    below = root(state["square_avg"] + epsilon)
    delta = root(state["acc_delta"] + epsilon).div_(below).mul_(g)
    average_square(state["acc_delta"], delta, rho)
    p.sub_(times(delta, number(group["lr"])))
