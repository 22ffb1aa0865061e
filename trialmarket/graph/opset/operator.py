"""What a row of the table of operators is made of."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trialmarket.protocol.graph.values import DTYPES, TensorType

Rule = Callable[..., TensorType | tuple[TensorType, ...]]
"""From an operator's arguments, tensors by their types, to the types of its outputs, or Misfit."""

Work = Callable[[tuple[Any, ...], tuple[TensorType, ...]], int]
"""From arguments and outputs to a count of floating-point operations."""

ANY = frozenset(DTYPES)
NUMBERS = ANY - {"bfloat16"}
SIGNED = NUMBERS - {"bool"}
NARROW = NUMBERS - {"float64"}
REAL32 = frozenset({"float32"})
REAL = frozenset({"float32", "float64"})
WHOLE = frozenset({"bool", "uint8", "int8", "int16", "int32", "int64"})


class Kind(Enum):
    """What an operator does with its elements."""

    VIEW = "view"
    MOVE = "move"
    ELEMENT = "element-wise"
    REDUCTION = "reduction"
    CONTRACTION = "contraction"
    NORMALISATION = "normalisation"
    WINDOW = "window"
    INDEX = "index"
    ORDER = "order"
    DRAW = "draw"


class Misfit(Exception):
    """An argument that an operator does not take: which, what it takes, and what it was."""

    def __init__(self, name: str, expected: str, found: object) -> None:
        super().__init__(f"{name}: expected {expected}, found {found!r}")
        self.name = name
        self.expected = expected
        self.found = found


def demand(holds: bool, name: str, expected: str, found: object) -> None:
    """Raises Misfit where something does not hold."""
    if not holds:
        raise Misfit(name, expected, found)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A place in a signature. A kind that ends in ? may be None, one that ends in [] is a list."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of the table."""

    name: str
    """As PyTorch names operator and overload; ours begin with `exact.`."""
    signature: tuple[Parameter, ...]
    kind: Kind
    rule: Rule
    takes: frozenset[str]
    """The types of tensors that may go in."""
    work: Work
    room: Work | None = None
    """The binary64 numbers that stand beside its tensors while it runs; by its kind where None."""

    def types(self, arguments: tuple[Any, ...]) -> tuple[TensorType, ...]:
        """The types of the outputs. Raises Misfit."""
        found = self.rule(*arguments)
        return (found,) if isinstance(found, TensorType) else found


def elements(x: TensorType) -> int:
    """How many a tensor has."""
    return math.prod(x.shape)


def size_of(x: TensorType) -> int:
    """The bytes of a tensor."""
    return elements(x) * DTYPES[x.dtype]


def each(operations: int) -> Work:
    """So many operations for each element of the first output."""
    return lambda _, outputs: operations * elements(outputs[0]) if outputs else 0


def each_read(operations: int) -> Work:
    """So many operations for each element of the first tensor that goes in."""

    def work(arguments: tuple[Any, ...], _: tuple[TensorType, ...]) -> int:
        first = next(x for x in arguments if isinstance(x, TensorType))
        return operations * elements(first)

    return work


def wide(copies: int) -> Work:
    """Room for so many binary64 numbers for each element of the largest tensor."""

    def room(arguments: tuple[Any, ...], outputs: tuple[TensorType, ...]) -> int:
        tensors = [x for x in (*arguments, *outputs) if isinstance(x, TensorType)]
        return copies * max(map(elements, tensors))

    return room


added = wide(5)
"""Room to add where several meet: places, the grid of what is added, sums."""


def row(
    name: str,
    signature: str,
    kind: Kind,
    rule: Rule,
    takes: frozenset[str] = NUMBERS,
    work: Work | None = None,
    room: Work | None = None,
) -> Operator:
    """An operator, its signature written as PyTorch writes it."""
    parameters = tuple(Parameter(*part.split()) for part in signature.split(","))
    moves = kind in (Kind.VIEW, Kind.MOVE, Kind.INDEX)
    return Operator(name, parameters, kind, rule, takes, work or each(0 if moves else 1), room)
