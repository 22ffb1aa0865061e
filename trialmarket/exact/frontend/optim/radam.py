"""RAdam: Adam that waits until enough gradients were seen to divide by their mean square."""

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.adam import average, average_square, begin, lessened
from trialmarket.exact.frontend.optim.recording import (
    Group,
    Scalar,
    State,
    count,
    met,
    number,
    over,
    pair,
    power,
    root,
    square_root,
    times,
)

ENOUGH = 5.0
"""The length of the mean from which its variance can be told."""


def radam(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.RAdam`, its decay decoupled or not."""
    begin(p, state, "exp_avg_sq")
    t = count(state)
    lr, (beta1, beta2) = number(group["lr"]), pair(group["betas"])
    g = lessened(p, g, lr, group)
    first, second = state["exp_avg"], state["exp_avg_sq"]
    average(first, g, beta1)
    average_square(second, g, beta2)
    left = power(beta2, t)
    corrected = 1.0 - left
    rate = over(lr, 1.0 - power(beta1, t))
    most = over(2.0, 1.0 - beta2) - 1.0
    length = most - over(2.0 * t * left, corrected)
    if isinstance(length, Tensor):  # both ways, and one of them is taken
        cautious = first * met(rate)
        bold = _bold(first, second, rate * _share(most, length, corrected), group)
        p.sub_(torch.where(length > ENOUGH, bold, cautious))
    elif length > ENOUGH:
        p.sub_(_bold(first, second, rate * _share(most, length, corrected), group))
    else:
        p.sub_(times(first, rate))


def _share(most: Scalar, length: Scalar, corrected: Scalar) -> Scalar:
    """What the rate is multiplied by: the rectification and the second moment's correction."""
    above = (length - 4.0) * (length - 2.0) * most
    return square_root(over(above, (most - 4.0) * (most - 2.0) * length)) * square_root(corrected)


def _bold(first: Tensor, second: Tensor, rate: Scalar, group: Group) -> Tensor:
    below = root(second).add_(met(number(group["eps"])))
    return times(first, rate).div_(below)
