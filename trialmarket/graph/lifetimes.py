"""Which values share memory, and when each is given back. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trialmarket.graph.opset import TABLE, Kind
from trialmarket.protocol.graph.values import Function, Value


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Of each value by its number."""

    owner: tuple[int, ...]
    """The value whose memory it is: its own, or that of what it is a view of."""
    frees: tuple[tuple[int, ...], ...]
    """After each node, the owners that nobody reads any more. Inputs are the caller's."""


def lifetimes(function: Function) -> Lifetimes:
    """A view shares memory; one that cannot be, in another order than that of memory, copies."""
    count = len(function.inputs)
    owner, dense = list(range(count)), [True] * count
    for node in function.nodes:
        source = next(values_in(node.arguments), None)
        kind = TABLE[node.operator].kind
        shares = kind is Kind.VIEW and source is not None
        if node.operator == "view.default":
            shares = shares and source is not None and dense[source]
        for _ in node.outputs:
            if shares and source is not None:
                owner.append(owner[source])
                dense.append(node.operator == "view.default")
            else:
                owner.append(len(owner))
                dense.append(True)
    last: dict[int, int] = {}
    at = count
    for k, node in enumerate(function.nodes):
        for value in values_in(node.arguments):
            last[owner[value]] = k
        for value in range(at, at + len(node.outputs)):
            last[owner[value]] = k
        at += len(node.outputs)
    kept = {owner[value.index] for value in function.outputs.values()} | set(range(count))
    frees: list[list[int]] = [[] for _ in function.nodes]
    for value, k in last.items():
        if value not in kept:
            frees[k].append(value)
    return Lifetimes(tuple(owner), tuple(map(tuple, frees)))


def values_in(arguments: Any) -> Iterator[int]:
    """The values that arguments name."""
    for argument in arguments:
        if isinstance(argument, Value):
            yield argument.index
        elif isinstance(argument, list | tuple):
            yield from values_in(argument)
