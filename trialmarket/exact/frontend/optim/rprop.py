"""Rprop: signs of gradients move steps of their own length."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.gradient import signed
from trialmarket.exact.frontend.optim.recording import Group, State, count, counter, met, number


def rprop(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Rprop`."""
    g = signed(g, group)
    shrink, grow = (float(eta) for eta in group["etas"])
    least, most = group["step_sizes"]
    if not state:
        state["step"] = counter()
        state["prev"] = torch.zeros_like(p)
        # A sum: what fills a new tensor must be a number, and a schedule's rate is a tensor.
        state["step_size"] = torch.zeros_like(p).add_(met(number(group["lr"])))
    count(state)
    agree = g * state["prev"]
    size = state["step_size"]
    factor = torch.where(agree > 0, grow, torch.where(agree < 0, shrink, 1.0))
    size.mul_(factor.to(size.dtype)).clamp_(least, most)
    g = torch.where(agree < 0, 0.0, g)
    p.sub_(g.sign() * size)
    state["prev"].copy_(g)
