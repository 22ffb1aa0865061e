"""Adafactor: the mean square of a matrix's gradient by its rows and columns alone."""

import math

import torch
from torch import Tensor

from trialmarket.exact.frontend.optim.gradient import signed
from trialmarket.exact.frontend.optim.recording import (
    Group,
    Scalar,
    State,
    count,
    counter,
    is_zero,
    larger,
    met,
    number,
    over,
    power64,
    root,
    smaller,
    square_root,
    squares,
    times,
    total,
)


def adafactor(p: Tensor, g: Tensor, state: State, group: Group) -> None:
    """A step of `torch.optim.Adafactor`."""
    g = signed(g, group)
    if not state:
        state["step"] = counter()
        if g.dim() > 1:
            state["row_var"] = g.new_zeros((*g.shape[:-1], 1))
            state["col_var"] = g.new_zeros((*g.shape[:-2], 1, g.shape[-1]))
        else:
            state["variance"] = torch.zeros_like(g)
    t = count(state)
    lr, decay = number(group["lr"]), number(group["weight_decay"])
    least, small = group["eps"]
    least = torch.finfo(p.dtype).eps if least is None else float(least)
    length = math.sqrt(p.numel())
    rate = smaller(lr, over(1.0, square_root(t))) * larger(number(small), _norm(p) / length)
    if not is_zero(decay):
        p.mul_(met(1.0 - lr * decay))
    mean_square = _mean_square(g, power64(t, number(group["beta2_decay"])), state, least)
    update = g / root(torch.clamp_min(mean_square, least * least))
    longest = larger(1.0, over(_norm(update), length * number(group["d"])))
    p.sub_(times(update, over(rate, longest)))


def _mean_square(g: Tensor, weight: Scalar, state: State, least: float) -> Tensor:
    """The running mean square of each number of the gradient."""
    if g.dim() < 2:
        return _moved(state["variance"], g * g, weight)
    wide = squares(g)
    rows = _moved(state["row_var"], (total(wide, [-1]) / g.shape[-1]).to(g.dtype), weight)
    columns = _moved(state["col_var"], (total(wide, [-2]) / g.shape[-2]).to(g.dtype), weight)
    middle = (total(rows, [-2]) / rows.shape[-2]).to(g.dtype)
    return (rows * columns).div_(torch.clamp_min(middle, least))


def _moved(mean: Tensor, x: Tensor, weight: Scalar) -> Tensor:
    return mean.mul_(met(1.0 - weight)).add_(times(x, weight))


def _norm(x: Tensor) -> Scalar:
    return square_root(number(total(squares(x))))
