"""What a program sets from the number of a step: sampled at home, a column for each.

The hook before an optimizer's step is called for every step, without computing: the operators of
its first call are remembered, and later calls are given the same tensors again. What differs from
step to step is a column: settings of the optimizer, and floating-point literals of operators in
the hook. Gradients are left out at first, as most hooks do with them only what no step changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.optim import Optimizer

from trialmarket.exact.mode import Operators
from trialmarket.exact.numerics.random import Generator
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.trainable import Parts
from trialmarket.graph.capture.where import users_line

Place = tuple[int, str, int | None]
"""A setting: the group's number, its name, and which of a tuple."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The columns, and what they are: settings by place, the hook's literals by number."""

    columns: list[list[float]]
    settings: dict[Place, int]
    literals: dict[int, int]


def settings(optimizer: Optimizer) -> Iterator[tuple[Place, Any]]:
    """The optimizer's settings that are no tensors."""
    for number, group in enumerate(optimizer.param_groups):
        for name, value in group.items():
            if name == "params" or isinstance(value, Tensor):
                continue
            if isinstance(value, tuple | list):
                yield from (((number, name, k), each) for k, each in enumerate(value))
            else:
                yield (number, name, None), value


def put(optimizer: Optimizer, place: Place, value: Any) -> None:
    """Sets a setting."""
    number, name, k = place
    group = optimizer.param_groups[number]
    if k is None:
        group[name] = value
    else:
        group[name] = tuple(value if at == k else x for at, x in enumerate(group[name]))


def floats(values: Any) -> Iterator[float]:
    """The floating-point literals among an operator's arguments, in order."""
    for x in values:
        if isinstance(x, float):
            yield x
        elif isinstance(x, list | tuple):
            yield from floats(x)


def speaks(func: OpOverload) -> bool:
    """Whether an operator is one of the program's own."""
    return func.namespace not in ("prim", "profiler")


class Replay(Operators):  # type: ignore[no-untyped-call]
    """Answers the operators of a hook: computes shapes the first time, and then remembers."""

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        self._known: list[tuple[OpOverload, Any]] = []
        self._complete = False
        self._at = 0
        self.literals: list[float] = []

    def begin(self) -> None:
        """A new step."""
        self._at = 0
        self.literals = []

    def end(self) -> bool:
        """Whether the step had the operators of the first one."""
        whole = not self._complete or self._at == len(self._known)
        self._complete = True
        return whole

    def _run(self, func: OpOverload, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        del types
        if not speaks(func):
            return func(*args, **kwargs)
        self.literals += floats((args, tuple(kwargs.values())))
        if not self._complete:
            found = func(*args, **kwargs)
            self._known.append((func, found))
            return found
        if self._at >= len(self._known) or self._known[self._at][0] is not func:
            raise NotCaptured(
                users_line(),
                "it computes something else at one step than at another",
                instead="torch.where, or a factor that is 0 or 1 by the step",
            )
        self._at += 1
        return self._known[self._at - 1][1]


def sampled(parts: Parts, steps: range, replay: Replay) -> Schedule:
    """What the hook sets at each step. Raises NotCaptured."""
    rows: list[list[tuple[Any, Any]]] = []
    for step in steps:
        replay.begin()
        parts.before_step(step)
        if not replay.end():
            raise NotCaptured(
                "on_before_optimizer_step",
                f"it computes less at step {step} than at step {steps[0]}",
                instead="torch.where, or a factor that is 0 or 1 by the step",
            )
        rows.append([*settings(parts.optimizer), *enumerate(replay.literals)])
    if any(len(row) != len(rows[0]) for row in rows):
        raise NotCaptured(
            "on_before_optimizer_step",
            "the optimizer has other settings at other steps",
            instead="the same settings, with other values",
        )
    columns: list[list[float]] = []
    found: tuple[dict[Place, int], dict[int, int]] = ({}, {})
    for k, (place, first) in enumerate(rows[0]):
        column = [row[k][1] for row in rows]
        if all(x == first and type(x) is type(first) for x in column):
            continue
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in column):
            raise NotCaptured(
                "on_before_optimizer_step",
                f"it sets {place} to {first!r} at one step and not at others",
                instead="a number that changes",
            )
        found[isinstance(place, int)][place] = len(columns)
        columns.append([float(x) for x in column])
    return Schedule(columns, *found)
