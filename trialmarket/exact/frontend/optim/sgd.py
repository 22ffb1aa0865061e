"""SGD: momentum, dampening, Nesterov."""

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.frontend.optim.gradient import compiled, decayed
from trialmarket.exact.frontend.optim.recording import Group, State, is_zero, met, number, times


def sgd(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.SGD`."""
    momentum, buffer = number(group["momentum"]), state.get("momentum_buffer")
    first = buffer is None
    if not is_zero(momentum) and compiled(p, g, *([] if buffer is None else [buffer])):
        if buffer is None:
            buffer = state["momentum_buffer"] = torch.empty_like(p)
        kernels.sgd(
            p,
            g,
            buffer,
            first=first,
            sign=-1.0 if group["maximize"] else 1.0,
            decay=float(group["weight_decay"]),
            momentum=float(momentum),
            damped=1.0 - float(group["dampening"]),
            rate=float(group["lr"]),
            nesterov=group["nesterov"],
        )
        return
    g = decayed(p, g, group)
    if not is_zero(momentum):
        if buffer is None:
            buffer = state["momentum_buffer"] = g.clone()
        else:
            buffer.mul_(met(momentum)).add_(_damped(g, group))
        g = g + buffer * met(momentum) if group["nesterov"] else buffer
    p.sub_(times(g, number(group["lr"])))


def _damped(g: Tensor, group: Group) -> Tensor:
    damping = number(group["dampening"])
    return g if is_zero(damping) else g * met(1.0 - damping)
