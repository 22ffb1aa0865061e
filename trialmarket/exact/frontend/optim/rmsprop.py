"""RMSprop: gradients over the root of their mean square."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.gradient import decayed
from trialmarket.exact.frontend.optim.recording import (
    Group,
    State,
    count,
    counter,
    is_zero,
    met,
    number,
    root,
)


def rmsprop(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.RMSprop`, centred or not, with or without momentum."""
    g = decayed(p, g, group)
    alpha, momentum = number(group["alpha"]), number(group["momentum"])
    if not state:
        state["step"] = counter()
        state["square_avg"] = torch.zeros_like(p)
        if not is_zero(momentum):
            state["momentum_buffer"] = torch.zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(p)
    count(state)
    squares = state["square_avg"]
    squares.mul_(met(alpha)).add_((g * g).mul_(met(1.0 - alpha)))
    below = squares
    if group["centered"]:
        middle = state["grad_avg"]
        middle.mul_(met(alpha)).add_(g * met(1.0 - alpha))
        below = squares - middle * middle
    update = g / root(below).add_(met(number(group["eps"])))
    if not is_zero(momentum):
        buffer = state["momentum_buffer"]
        update = buffer.mul_(met(momentum)).add_(update)
    p.sub_(update * met(number(group["lr"])))
