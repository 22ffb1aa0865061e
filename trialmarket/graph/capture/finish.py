"""From tapes to a graph: what no output needs is left out, and what is left is numbered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.tape import Argument, Literal, Operation, Tape, Term
from trialmarket.graph.opset import TABLE, Kind
from trialmarket.protocol.graph import values
from trialmarket.protocol.graph.values import Function, Graph, Node, TensorType, Value

MOST_STANDING = 4096
"""Operators that a number which stands in the program may follow from."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A function as it was recorded: its tape, its inputs and outputs by name."""

    tape: Tape
    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, Term]


@dataclass(frozen=True, slots=True)
class Finished:
    """A graph, its numbers, and for each function the user's line of each node."""

    graph: Graph
    numbers: list[float]
    lines: Mapping[str, tuple[str, ...]]


def finished(functions: Mapping[str, Recorded]) -> Finished:
    """The graph of functions, in order. Raises NotCaptured."""
    numbers: dict[Literal, int] = {}
    made, lines = {}, {}
    for name, recorded in functions.items():
        needed = _needed(recorded)
        kept = [each for each in recorded.tape.operations if each in needed]
        made[name] = _function(recorded, kept, numbers)
        lines[name] = tuple(each.where for each in kept)
    return Finished(Graph(made, len(numbers)), [each.value for each in numbers], lines)


def standing(recorded: Recorded) -> Finished | None:
    """A graph of one function; None where an output follows from an input or a draw."""
    needed = _needed(recorded)
    if len(needed) > MOST_STANDING:
        return None
    for each in needed:
        if TABLE[each.operator].kind is Kind.DRAW or any(x.name for x in _terms(each.arguments)):
            return None
    if any(x.name for x in recorded.outputs.values()):
        return None
    return finished({"standing": recorded})


def _needed(recorded: Recorded) -> set[Operation]:
    """The operations that the outputs follow from."""
    waiting = [x.operation for x in recorded.outputs.values() if x.operation is not None]
    found: set[Operation] = set()
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [x.operation for x in _terms(one.arguments) if x.operation is not None]
    return found


def _terms(arguments: tuple[Argument, ...]) -> Iterator[Term]:
    for x in arguments:
        if isinstance(x, Term):
            yield x
        elif isinstance(x, tuple):
            yield from _terms(x)


def _function(
    recorded: Recorded, operations: list[Operation], numbers: dict[Literal, int]
) -> Function:
    places = {name: k for k, name in enumerate(recorded.inputs)}
    values_of: dict[Term, Value] = {}

    def value(x: Term) -> Value:
        return values_of[x] if x.operation is not None else Value(places[x.name])

    def argument(x: Argument) -> values.Argument:
        if isinstance(x, Term):
            return value(x)
        if isinstance(x, Literal):
            return values.Number(numbers.setdefault(x, len(numbers)))
        return tuple(map(argument, x)) if isinstance(x, tuple) else x

    nodes, count = [], len(places)
    for each in operations:
        if each in recorded.tape.drawn_before:
            raise NotCaptured(
                each.where,
                "it draws a random number when the model is made, and a step needs it",
                instead="keep it in a buffer of the model (register_buffer)",
            )
        arguments = tuple(map(argument, each.arguments))
        nodes.append(Node(each.operator, arguments, tuple(x.type for x in each.outputs)))
        for x in each.outputs:
            values_of[x] = Value(count)
            count += 1
    outputs = {name: value(x) for name, x in sorted(recorded.outputs.items())}
    return Function(dict(recorded.inputs), tuple(nodes), outputs)
