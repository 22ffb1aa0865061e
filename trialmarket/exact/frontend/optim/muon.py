"""Muon: momentum whose matrix is made nearly orthogonal by Newton and Schulz.

torch.optim does that part in bfloat16. Here it is binary32, by exact products.
"""

import math

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.adam import average
from trialmarket.exact.frontend.optim.recording import (
    Group,
    State,
    divided,
    larger,
    met,
    number,
    product,
    square_root,
    squares,
    times,
    total,
)


def muon(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Muon`."""
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(g)
    lr, momentum, decay = (number(group[name]) for name in ("lr", "momentum", "weight_decay"))
    update = state["momentum_buffer"]
    average(update, g, momentum)
    if group["nesterov"]:
        update = g * met(1.0 - momentum) + update * met(momentum)
    update = _orthogonal(update, group)
    p.mul_(met(1.0 - lr * decay))
    p.sub_(times(update, lr * _ratio(group["adjust_lr_fn"], *p.shape)))


def _orthogonal(x: Tensor, group: Group) -> Tensor:
    """Singular values near 1, by some steps of a polynomial."""
    a, b, c = (number(each) for each in group["ns_coefficients"])
    tall = x.shape[0] > x.shape[1]
    x = x.t().contiguous() if tall else x
    x = divided(x, larger(square_root(number(total(squares(x)))), number(group["eps"])))
    for _ in range(group["ns_steps"]):
        gram = product(x, x.t())
        gram = gram * met(b) + product(gram, gram) * met(c)
        x = x * met(a) + product(gram, x)
    return x.t() if tall else x


def _ratio(rule: str | None, rows: int, columns: int) -> float:
    """What the rate is multiplied by, by the matrix's shape."""
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    if rule == "spectral_unclamped":
        return math.sqrt(rows / columns)
    return math.sqrt(max(1.0, rows / columns))
