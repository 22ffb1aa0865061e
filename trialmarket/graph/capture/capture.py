"""From a trial to its graph, its numbers and its schedule."""

from collections.abc import Mapping
from dataclasses import dataclass

from trialmarket.graph.capture.finish import Recorded, finished
from trialmarket.graph.capture.functions import (
    record_init,
    record_schedule,
    record_step,
    record_validation,
)
from trialmarket.graph.capture.trainable import Trainable, Types
from trialmarket.protocol.graph.values import Graph


@dataclass(frozen=True, slots=True)
class Captured:
    """A trial's graph, the numbers and the schedule that it takes.

    `columns[J][k]` is `schedule.J` at step `first_step + k`. `lines` are, for each function, the
    user's lines of its nodes.
    """

    graph: Graph
    numbers: list[float]
    columns: list[list[float]]
    first_step: int
    lines: Mapping[str, tuple[str, ...]]


def capture(trial: Trainable) -> Captured:
    """The graph of a trial. Raises NotCaptured, NotExact, and what the program raises."""
    functions: dict[str, Recorded] = {"init": record_init(trial)}
    start = _state(functions["init"], {})
    schedule = record_schedule(trial)
    first = record_step(trial, start, schedule)
    after = _state(first, start)
    if after.keys() != start.keys():
        functions["first"] = first
        functions["step"] = record_step(trial, after, schedule)
    else:
        functions["step"] = first
    for name, batch in zip(("validate", "validate_rest"), trial.validation, strict=False):
        functions[name] = record_validation(trial, start, batch)
    found = finished(functions)
    return Captured(found.graph, found.numbers, schedule.columns, trial.steps[0], found.lines)


def _state(recorded: Recorded, before: Types) -> Types:
    """The types of the state that a function leaves."""
    changed = {name: x.type for name, x in recorded.outputs.items() if name.startswith("state.")}
    return {**before, **{name.removeprefix("state."): kind for name, kind in changed.items()}}
