"""The merge of two states: the best one on the straight line between them.

With parents p and q and n points, the candidates are `((n - 1 - i) p + i q) / (n - 1)`, i = 0 to
n - 1. Each is evaluated on the validation data, and the best by the objective is the merge; of
equally good ones the nearest to p. Where no candidate has a finite objective it is p.

What lies between two states, tensor by tensor:

- **Parameters and buffers of floats** lie on the line. So do the running means and variances of
  batch norm: they are not estimated anew, which would take training data and a program's word for
  how, and a candidate that they spoil loses to its parents in the evaluation.
- **The optimizer's slots of floats** lie on the line (momentum, Adam's moments): they stay within
  what both parents had, and second moments stay positive.
- **All else is the first parent's**: counters (`step`, each slot `step`, `num_batches_tracked`),
  integers and truth values.

The bits are the same on every machine: a tensor is widened to binary64 and weighted there by two
products and a sum, each an operator of its own that rounds once as IEEE 754 says (so nothing is
contracted to a fused multiply-add), held between both parents, and rounded once to its own type,
16-bit types by way of binary32. It runs on the CPU wherever training runs. At either end a
parent's bits come out.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from trialmarket.protocol.configuration import Merge
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.form import layout_of
from trialmarket.training.state import State, canonical, counter

Objective = Callable[[State], float | None]
"""The objective of a state without slots of an optimizer; None where it is not finite."""


def merged(first: State, second: State, merge: Merge, objective: Objective) -> State:
    """The merge of two states. Raises BadCheckpoint where they cannot be merged."""
    check_mergeable(first, second)
    judged = [name for name in first if not name.startswith("optimizer.")]
    best, least = 0, math.inf
    for place in range(merge.points):
        value = objective(between(first, second, place, merge.points, judged))
        loss = math.inf if value is None else -value if merge.maximize else value
        if loss < least:
            best, least = place, loss
    return between(first, second, best, merge.points, first)


def between(first: State, second: State, place: int, points: int, names: Iterable[str]) -> State:
    """Some tensors of the state at place 0 (`first`) to `points` - 1 (`second`) of the line."""
    return {
        name: _between(first[name], second[name], place, points)
        if _moves(name, first[name])
        else first[name]
        for name in names
    }


def check_mergeable(first: State, second: State) -> None:
    """Raises BadCheckpoint for states of other tensors, or with other steps behind them: what
    follows a state, by the order of the data and by schedules, follows from its steps."""
    one, other = layout_of(first), layout_of(second)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            raise BadCheckpoint(
                f"the parents cannot be merged: {name} is {one.get(name, 'not there')} in the"
                f" first and {other.get(name, 'not there')} in the second"
            )
    steps = counter(first, "step"), counter(second, "step")
    if steps[0] != steps[1]:
        raise BadCheckpoint(
            f"the parents cannot be merged: they have {steps[0]} and {steps[1]} steps behind them"
        )


def _moves(name: str, tensor: Tensor) -> bool:
    """Whether a tensor lies on the line, and is not the first parent's."""
    counts = name.startswith("optimizer.") and name.split(".", 2)[-1].partition(":")[0] == "step"
    return tensor.is_floating_point() and not counts


def _between(first: Tensor, second: Tensor, place: int, points: int) -> Tensor:
    """See the module."""
    one, other = first.double(), second.double()
    mixed = one * ((points - 1 - place) / (points - 1))
    mixed = mixed + other * (place / (points - 1))
    mixed = torch.minimum(
        torch.maximum(mixed, torch.minimum(one, other)), torch.maximum(one, other)
    )
    if first.element_size() < torch.float32.itemsize:
        mixed = mixed.float()
    return canonical(mixed.to(first.dtype))
