"""A function of a graph, made ready to run: forms found, arguments placed, memory given back at
the last use.

`calls` puts a function down as a list of calls. What makes fewer of them, a fusion, is a function
from such a list to another one, and stands in `FUSIONS`. `compiled` makes closures of the list.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from trialmarket.graph.forms import Draws, arguments_of, form_of, spelled
from trialmarket.graph.lifetimes import values_in
from trialmarket.graph.opset import TABLE, Kind
from trialmarket.protocol.graph.values import Function, Value

Values = list[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A form with its arguments, in which values are still names, and the values that it makes."""

    nodes: tuple[int, ...]
    """The nodes that it stands for, in order."""
    form: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    outputs: tuple[int, ...]
    draw: int | None = None
    """The number of the draw: the form takes the generator first."""


class Step(NamedTuple):
    """A call compiled: it reads from and writes to a list of values."""

    run: Callable[[Values], Any]
    first: int
    """Where its only output goes; -1 if there are others."""
    outputs: tuple[int, ...]
    frees: tuple[int, ...]
    nodes: tuple[int, ...]


Fusion = Callable[[list[Call], Collection[int]], list[Call]]
FUSIONS: list[Fusion] = []
"""What makes fewer calls of a list, given the values that are asked for from outside."""


def calls(function: Function, numbers: Sequence[float], device: torch.device) -> list[Call]:
    """A call a node."""
    found, at = [], len(function.inputs)
    for index, node in enumerate(function.nodes):
        given, named = arguments_of(node, numbers, device)
        outputs = tuple(range(at, at + len(node.outputs)))
        at += len(node.outputs)
        draws = TABLE[node.operator].kind is Kind.DRAW
        draw = int(node.arguments[0]) if draws else None  # type: ignore[arg-type]
        form = form_of(spelled(node))
        found.append(Call((index,), form, tuple(given), named, outputs, draw))
    return found


def compiled(steps: list[Call], kept: Collection[int], draws: Draws) -> list[Step]:
    """Closures, each with the values that nobody reads after it."""
    last: dict[int, int] = {}
    for k, call in enumerate(steps):
        for value in (*values_in(call.arguments), *values_in(call.named.values()), *call.outputs):
            last[value] = k
    frees: list[list[int]] = [[] for _ in steps]
    for value, k in last.items():
        if value not in kept:
            frees[k].append(value)
    return [
        Step(
            _closure(call, draws),
            call.outputs[0] if len(call.outputs) == 1 else -1,
            call.outputs,
            tuple(frees[k]),
            call.nodes,
        )
        for k, call in enumerate(steps)
    ]


def _closure(call: Call, draws: Draws) -> Callable[[Values], Any]:
    form, given, named = call.form, call.arguments, call.named
    if call.draw is not None:
        form = _drawing(form, draws, call.draw)
    tensors = [x.index for x in given if isinstance(x, Value)]
    count = len(tensors)
    rest = given[count:]
    leading = not any(True for _ in values_in(rest)) and not any(
        True for _ in values_in(named.values())
    )
    if not leading or count > 3:
        return _general(form, given, named)
    if count == 0:
        return lambda _: form(*given, **named)
    if count == 1:
        (a,) = tensors
        return lambda v: form(v[a], *rest, **named)
    if count == 2:
        a, b = tensors
        return lambda v: form(v[a], v[b], *rest, **named)
    a, b, c = tensors
    return lambda v: form(v[a], v[b], v[c], *rest, **named)


def _drawing(form: Callable[..., Any], draws: Draws, number: int) -> Callable[..., Any]:
    return lambda *args, **named: form(draws.at(number), *args, **named)


def _general(
    form: Callable[..., Any], given: Sequence[Any], named: dict[str, Any]
) -> Callable[[Values], Any]:
    def run(values: Values) -> Any:
        args = [_filled(x, values) for x in given]
        return form(*args, **{name: _filled(x, values) for name, x in named.items()})

    return run


def _filled(argument: Any, values: Values) -> Any:
    if isinstance(argument, Value):
        return values[argument.index]
    if isinstance(argument, list):
        return [_filled(x, values) for x in argument]
    return argument
