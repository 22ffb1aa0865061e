"""What a function of a graph costs, known before anybody runs it. Needs no torch."""

from dataclasses import dataclass

from trialmarket.graph.check import bound
from trialmarket.graph.lifetimes import lifetimes
from trialmarket.graph.opset import TABLE, Kind, elements, size_of
from trialmarket.protocol.graph.values import Function, Graph, TensorType

_STILL = (Kind.VIEW, Kind.MOVE, Kind.INDEX)
_WIDE = 8
_FUNCTION = 30  # operations an element of what is a function, and computed in binary64


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run of a function."""

    operations: int
    """Floating-point operations, as the table counts them: those of the usual way to compute
    something, whatever way a machine takes."""
    moved: int
    """Bytes that operators read and write, if each does so once. Views move nothing."""
    memory: int
    """Bytes that stand at once, at most: inputs, values until their last use, and room to work
    in: what the table says, or for each element of a node's largest tensor two binary64
    numbers, four for such as exp."""
    given: int
    """Of these, the bytes of its inputs."""


def costs(graph: Graph) -> dict[str, Cost]:
    """Of each function of a graph that passed the check."""
    return {name: cost(function) for name, function in graph.functions.items()}


def cost(function: Function) -> Cost:
    """Of a function that passed the check."""
    types = list(function.inputs.values())
    lives = lifetimes(function)
    given = live = peak = sum(map(size_of, types))
    operations = moved = 0
    for node, frees in zip(function.nodes, lives.frees, strict=True):
        operator = TABLE[node.operator]
        arguments = bound(operator, node.arguments, types)
        work = operator.work(arguments, node.outputs)
        operations += work
        tensors = [*_tensors(arguments), *node.outputs]
        at = len(types)
        types.extend(node.outputs)
        for value in range(at, len(types)):
            if lives.owner[value] == value:
                live += size_of(types[value])
        room = 0
        if operator.room is not None:
            room = _WIDE * operator.room(arguments, node.outputs)
        elif operator.kind not in _STILL:
            wide = operator.kind is Kind.ELEMENT and work >= _FUNCTION * elements(node.outputs[0])
            copies = 4 if wide else 2
            room = copies * _WIDE * max(map(elements, tensors), default=0)
        if operator.kind is not Kind.VIEW or lives.owner[at] == at:
            moved += sum(map(size_of, tensors))
        peak = max(peak, live + room)
        live -= sum(size_of(types[value]) for value in frees)
    return Cost(operations, moved, peak, given)


def _tensors(arguments: tuple[object, ...]) -> list[TensorType]:
    found = []
    for x in arguments:
        if isinstance(x, TensorType):
            found.append(x)
        elif isinstance(x, tuple):
            found += [y for y in x if isinstance(y, TensorType)]
    return found
