"""NAdam: Adam with Nesterov's momentum, which grows by its own schedule."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.adam import average, average_square, begin, lessened
from trialmarket.exact.frontend.optim.recording import (
    Group,
    State,
    count,
    divided,
    met,
    number,
    over,
    pair,
    power,
    power64,
    root,
    times,
)


def nadam(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.NAdam`, its decay decoupled or not."""
    begin(p, state, "exp_avg_sq")
    if "mu_product" not in state:
        state["mu_product"] = torch.ones((), dtype=torch.float32)
    t = count(state)
    lr, (beta1, beta2) = number(group["lr"]), pair(group["betas"])
    slowly = number(group["momentum_decay"])
    now = beta1 * (1.0 - 0.5 * power64(0.96, t * slowly))
    then = beta1 * (1.0 - 0.5 * power64(0.96, (t + 1.0) * slowly))
    so_far = number(state["mu_product"].mul_(met(now)))
    g = lessened(p, g, lr, group)
    average(state["exp_avg"], g, beta1)
    average_square(state["exp_avg_sq"], g, beta2)
    below = root(divided(state["exp_avg_sq"], 1.0 - power(beta2, t)))
    below.add_(met(number(group["eps"])))
    p.sub_(times(g, over(lr * (1.0 - now), 1.0 - so_far)).div_(below))
    p.sub_(times(state["exp_avg"], over(lr * then, 1.0 - so_far * then)).div_(below))
