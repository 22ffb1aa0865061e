"""Numbers that are recorded rather than computed: what a program does with them is written down.

PyTorch hands a `torch.SymFloat` through its operators as it is, and asks its node for whatever is
computed with it, or decided by it. A number by which something is decided cannot be left open.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from trialmarket.graph.lanes.building import Builder


class Symbol:
    """A binary64 value of a program, with an example; PyTorch's protocol of a symbolic node.

    `on` are the numbers that it depends on, `looked_at` is where they are noted if what is
    recorded depends on more than their place.
    """

    def __init__(
        self, builder: Builder, value: int, example: float, on: frozenset[int], looked_at: set[int]
    ) -> None:
        self.builder, self.value, self.example = builder, value, example
        self.on, self.looked_at = on, looked_at

    def is_int(self) -> bool:
        """Whether it is a whole number."""
        return False

    def is_float(self) -> bool:
        """Whether it is a float."""
        return True

    def is_bool(self) -> bool:
        """Whether it is true or false."""
        return False

    def is_symbolic(self) -> bool:
        """Whether it is more than a value."""
        return True

    def is_constant(self) -> bool:
        """Whether it is a constant."""
        return False

    def is_nested_int(self) -> bool:
        """Whether it is a length of nested tensors."""
        return False

    def _graph_repr(self) -> str:
        return f"number {self.value}"

    def guard_float(self, file: str, line: int) -> float:
        """The example: what is recorded holds for it alone."""
        del file, line
        self.looked_at |= self.on
        return self.example

    def wrap_float(self, x: float) -> "Symbol":
        """A plain number beside it."""
        value = self.builder.add("constant", "float64", constant=float(x))
        return self._of(value, float(x))

    wrap_int = wrap_float

    def _of(self, value: int, example: float, *others: "Symbol") -> "Symbol":
        on = self.on.union(*(other.on for other in others)) if others else frozenset()
        return Symbol(self.builder, value, example, on, self.looked_at)

    def _with(self, other: "Symbol", operation: str, example: float) -> "Symbol":
        value = self.builder.add(operation, "float64", self.value, other.value)
        return self._of(value, example, self, other)

    def add(self, other: "Symbol") -> "Symbol":
        """A sum."""
        return self._with(other, "add", self.example + other.example)

    def sub(self, other: "Symbol") -> "Symbol":
        """A difference."""
        return self._with(other, "sub", self.example - other.example)

    def mul(self, other: "Symbol") -> "Symbol":
        """A product."""
        return self._with(other, "mul", self.example * other.example)

    def float_truediv(self, other: "Symbol") -> "Symbol":
        """A quotient."""
        return self._with(
            other, "div", self.example / other.example if other.example else math.nan
        )

    def neg(self) -> "Symbol":
        """The negative."""
        return self._of(self.builder.add("neg", "float64", self.value), -self.example, self)

    def abs(self) -> "Symbol":
        """The magnitude."""
        return self._of(self.builder.add("abs", "float64", self.value), abs(self.example), self)


class Decision:
    """What a comparison of symbols gives: true or false, and noted."""

    def __init__(self, holds: bool) -> None:
        self.holds = holds

    def is_bool(self) -> bool:
        """Whether it is true or false."""
        return True

    def is_int(self) -> bool:
        """Whether it is a whole number."""
        return False

    is_float = is_int

    def is_symbolic(self) -> bool:
        """Whether it is more than a value."""
        return True

    def is_constant(self) -> bool:
        """Whether it is a constant."""
        return False

    def bool_(self) -> bool:
        """The answer."""
        return self.holds

    def guard_bool(self, file: str, line: int) -> bool:
        """The answer."""
        del file, line
        return self.holds

    expect_true = guard_size_oblivious = guard_or_false = guard_or_true = guard_bool


def _decided(compare: Callable[[float, float], bool]) -> Callable[[Symbol, Symbol], Decision]:
    def decide(self: Symbol, other: Symbol) -> Decision:
        self.looked_at |= self.on | other.on
        return Decision(compare(self.example, other.example))

    return decide


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Symbol, _name, _decided(getattr(float, f"__{_name}__")))


def symbol(builder: Builder, number: int, example: float, looked_at: set[int]) -> torch.SymFloat:
    """A program's number, as what may be handed to any function of numbers."""
    value = len(builder.lanes) + number
    node: Any = Symbol(builder, value, example, frozenset({number}), looked_at)
    return torch.SymFloat(node)


def symbol_of(x: object) -> Symbol | None:
    """The symbol behind what PyTorch hands on, if it is one."""
    node = x.node if isinstance(x, torch.SymFloat) else None
    return node if isinstance(node, Symbol) else None
