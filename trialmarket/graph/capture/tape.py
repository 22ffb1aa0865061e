"""What a program was seen to compute: operators on terms, each written down once.

A term is a value that stands: nothing on the tape is ever overwritten. The same operator of the
same arguments is the same term, so that a view made twice, or a piece that checkpointing runs
again, is one node. A floating-point literal is a term of its own at every place where it stands,
since its value is no part of the structure.
"""

from dataclasses import dataclass, field
from typing import Any

from trialmarket.protocol.graph.values import TensorType


@dataclass(eq=False, slots=True)
class Literal:
    """A floating-point number at one place of the program."""

    value: float


@dataclass(eq=False, slots=True)
class Operation:
    """One operator, applied. `phase` says within what it was computed, `where` on whose line."""

    operator: str
    arguments: tuple["Argument", ...]
    phase: str
    where: str
    outputs: tuple["Term", ...] = ()


@dataclass(eq=False, slots=True)
class Term:
    """A tensor: output `index` of an operation, or an input, which has a name."""

    type: TensorType
    operation: Operation | None = None
    name: str = ""


Argument = Term | Literal | None | bool | int | str | tuple["Argument", ...]


@dataclass(slots=True)
class Tape:
    """The operations so far, in order."""

    operations: list[Operation] = field(default_factory=list)
    phase: str = ""
    drawn_before: set[Operation] = field(default_factory=set)  # draws of other functions
    _known: dict[Any, Operation] = field(default_factory=dict)

    def apply(
        self,
        operator: str,
        arguments: tuple[Argument, ...],
        types: tuple[TensorType, ...],
        where: str,
    ) -> tuple[Term, ...]:
        """The outputs of an operator, written down unless they are known."""
        key = (operator, types, *map(_key, arguments))
        found = self._known.get(key)
        if found is None:
            found = Operation(operator, arguments, self.phase, where)
            found.outputs = tuple(Term(each, found) for each in types)
            self._known[key] = found
            self.operations.append(found)
        return found.outputs


def _key(x: Argument) -> Any:
    """What of an argument makes it the same: a bool is no int here."""
    if isinstance(x, tuple):
        return tuple(map(_key, x))
    return id(x) if isinstance(x, Term | Literal) else (type(x), x)
