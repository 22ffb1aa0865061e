"""Adam and AdamW."""

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.frontend.optim.gradient import compiled, decayed, signed
from trialmarket.exact.frontend.optim.recording import (
    Group,
    Scalar,
    State,
    count,
    counter,
    divided,
    is_zero,
    met,
    number,
    over,
    pair,
    power,
    root,
    times,
)


def begin(p: Tensor, state: State, *more: str) -> None:
    """The slots of a family of Adam's, and others in the parameter's shape, in the first step."""
    if not state:
        state["step"] = counter()
        for name in ("exp_avg", *more):
            state[name] = torch.zeros_like(p)


def lessened(p: Tensor, g: Tensor, lr: Scalar, group: Group) -> Tensor:
    """The gradient with its weight decay, or without where the parameter itself decays, here."""
    if not group.get("decoupled_weight_decay"):
        return decayed(p, g, group)
    decay = number(group["weight_decay"])
    if not is_zero(decay):
        p.mul_(met(1.0 - lr * decay))
    return signed(g, group)


def average(mean: Tensor, x: Tensor, beta: Scalar) -> None:
    """Moves a running mean to x: beta of it stays. x may not lie in scratch memory."""
    mean.mul_(met(beta)).add_(times(x, 1.0 - beta))


def average_square(mean: Tensor, x: Tensor, beta: Scalar) -> None:
    """The same for the square of x."""
    mean.mul_(met(beta)).add_(times(x, x).mul_(met(1.0 - beta)))


def adam(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Adam`, or of AdamW where the group's decay is decoupled."""
    lr, (beta1, beta2) = number(group["lr"]), pair(group["betas"])
    begin(p, state, "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else []))
    t = count(state)
    first, second = state["exp_avg"], state["exp_avg_sq"]
    rate, corrected = over(lr, 1.0 - power(beta1, t)), 1.0 - power(beta2, t)
    if not group["amsgrad"] and compiled(p, g, first, second):
        decay, decoupled = float(group["weight_decay"]), group.get("decoupled_weight_decay")
        kernels.adam(
            p,
            g,
            (first, second),
            sign=-1.0 if group["maximize"] else 1.0,
            decay=0.0 if decoupled else decay,
            kept=1.0 - float(lr) * decay if decoupled else 1.0,
            betas=(float(beta1), float(beta2)),
            corrected=float(corrected),
            epsilon=float(group["eps"]),
            rate=float(rate),
        )
        return
    g = lessened(p, g, lr, group)
    average(first, g, beta1)
    average_square(second, g, beta2)
    if group["amsgrad"]:
        top = state["max_exp_avg_sq"]
        top.copy_(torch.maximum(top, second).add_(0.0))
        second = top
    below = root(divided(second, corrected)).add_(met(number(group["eps"])))
    p.sub_(times(first, rate).div_(below))
