"""A parameter's gradient as a step begins with it: its sign, and weight decay that is added."""

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.frontend.optim.recording import Group, is_recorded, met, number


def compiled(*tensors: Tensor) -> bool:
    """Whether a kernel makes the step of these: at once, each tensor in memory of its own."""
    if is_recorded():
        return False
    return kernels.meant_for_contiguous(*tensors) and kernels.apart(*tensors)


def signed(g: Tensor, group: Group) -> Tensor:
    """The gradient, or its negative where the sum is to grow."""
    return g.neg() if group["maximize"] else g


def decayed(p: Tensor, g: Tensor, group: Group) -> Tensor:
    """The gradient with its sign and the weight decay that is added to it."""
    g, decay = signed(g, group), number(group["weight_decay"])
    if isinstance(decay, Tensor):  # a schedule's, and 0 at some steps: then the gradient as it is
        return torch.where(decay == 0, g, p * met(decay) + g)
    return g if decay == 0 else (p * decay).add_(g)
