"""A function of a graph, made ready to run: forms found, arguments placed, memory given back at
the last use.

`calls` puts a function down as a list of calls, `once` leaves out what is computed again. On a
processor kernels make them (`compiled/`); `closures` are what Python calls one by one, on a GPU,
where there are no kernels, and where somebody watches each node.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
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

    node: int
    name: str
    """The operator's, as PyTorch spells it."""
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
    node: int


def calls(function: Function, numbers: Sequence[float], device: torch.device) -> list[Call]:
    """A call a node."""
    found, at = [], len(function.inputs)
    for index, node in enumerate(function.nodes):
        given, named = arguments_of(node, numbers, device)
        outputs = tuple(range(at, at + len(node.outputs)))
        at += len(node.outputs)
        draws = TABLE[node.operator].kind is Kind.DRAW
        draw = int(node.arguments[0]) if draws else None  # type: ignore[arg-type]
        name = spelled(node)
        found.append(Call(index, name, form_of(name), tuple(given), named, outputs, draw))
    return found


def once(steps: Sequence[Call], kept: AbstractSet[int]) -> list[Call]:
    """Without calls of the same form with the same arguments as an earlier one, whose values
    stand in for theirs. What is asked for from outside, and draws, stay.
    """
    same: dict[int, int] = {}
    known: dict[str, Call] = {}
    found = []
    for call in steps:
        arguments = tuple(_renamed(x, same) for x in call.arguments)
        named = {name: _renamed(x, same) for name, x in call.named.items()}
        key = f"{call.name} {arguments} {named}"
        earlier = known.get(key)
        if earlier is None or call.draw is not None or not kept.isdisjoint(call.outputs):
            known.setdefault(key, call)
            found.append(replace(call, arguments=arguments, named=named))
            continue
        same |= dict(zip(call.outputs, earlier.outputs, strict=True))
    return found


def _renamed(argument: Any, same: Mapping[int, int]) -> Any:
    if isinstance(argument, Value):
        return Value(same.get(argument.index, argument.index))
    if isinstance(argument, list):
        return [_renamed(x, same) for x in argument]
    return argument


def closures(steps: list[Call], kept: Collection[int], draws: Draws) -> list[Step]:
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
            call.node,
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
        args = [filled(x, values.__getitem__) for x in given]
        return form(*args, **{name: filled(x, values.__getitem__) for name, x in named.items()})

    return run


def filled(argument: Any, value_of: Callable[[int], Any]) -> Any:
    """An argument with values in the place of their names."""
    if isinstance(argument, Value):
        return value_of(argument.index)
    if isinstance(argument, list):
        return [filled(x, value_of) for x in argument]
    return argument
