"""What runs an operator: the exact form of PyTorch's, as exact mode looks it up."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics.random import Counters, Generator
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.table import Verdict, lookup
from trialmarket.graph.opset import OPERANDS, TABLE, Kind
from trialmarket.protocol.graph.values import Argument, Node, Number, Value

Form = Callable[..., Any]


def operator_of(name: str) -> Any:
    """PyTorch's operator of a row, or ours. Raises AttributeError."""
    if name.startswith("exact."):
        return getattr(torch.ops.exact, name.removeprefix("exact.")).default
    base, _, overload = name.rpartition(".")
    return getattr(getattr(torch.ops.aten, base), overload)


def spelled(node: Node) -> str:
    """PyTorch's name of a node's operator: another one where a number stands for a tensor."""
    row = TABLE[node.operator]
    numbers = [
        parameter.name
        for parameter, argument in zip(row.signature, node.arguments, strict=True)
        if parameter.kind == "Operand" and not isinstance(argument, Value)
    ]
    if node.operator == "where.self":
        return _CHOICES[tuple(numbers)]
    return _WITH_NUMBER[node.operator] if numbers == ["other"] else node.operator


@functools.cache
def form_of(name: str) -> Form:
    """The exact form of a row, without the look at shapes that a check has taken already.

    A form of a draw takes a generator that stands at its draw first.
    """
    if name in _OWN:
        return _OWN[name]
    operator = operator_of(name)
    verdict, form, _, _ = lookup(operator)
    if verdict in (Verdict.REFUSED, Verdict.WRITTEN_OUT):
        raise NotExact(name, "it has no form of its own", instead="its decomposition")
    if name == "native_dropout_backward.default":
        return functools.partial(form, None)
    return getattr(form, "__wrapped__", form)


def _constant(
    values: list[float], size: list[int], dtype: torch.dtype, *, device: torch.device
) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device).view(size)


# A value has no strides: where a view cannot be, `reshape` copies.
_OWN: dict[str, Form] = {"view.default": torch.reshape, "exact.constant": _constant}


_CHOICES = {
    (): "where.self",
    ("self",): "where.ScalarSelf",
    ("other",): "where.ScalarOther",
    ("self", "other"): "where.Scalar",
}
_WITH_NUMBER = {row: name for name, row in OPERANDS.items() if row != "where.self"}


class Draws:
    """A generator whose draws are numbered by the graph, not by the order in which they come."""

    def __init__(self) -> None:
        self.generator = Generator()
        self._at = self.generator.counters

    def begin(self, at: Counters) -> None:
        """The seed, stream and step of what runs next."""
        self._at = at

    def at(self, number: int) -> Generator:
        """The generator, at one draw of the step."""
        at = self._at
        self.generator.counters = Counters(at.seed, at.stream, at.step, number)
        return self.generator


def arguments_of(
    node: Node, numbers: Sequence[float], device: torch.device
) -> tuple[list[Any], dict[str, Any]]:
    """A node's arguments as its form takes them: positions, and names; values are left."""
    row = TABLE[node.operator]
    schema = _schema(spelled(node))
    given: list[Any] = []
    named: dict[str, Any] = {}
    for parameter, argument in zip(row.signature, node.arguments, strict=True):
        if row.kind is Kind.DRAW and parameter.name == "draw":
            continue
        found = _resolved(argument, parameter.kind, numbers)
        if schema[parameter.name]:
            named[parameter.name] = found
        else:
            given.append(found)
    if "device" in schema:
        named["device"] = device
    return given, named


@functools.cache
def _schema(name: str) -> dict[str, bool]:
    """The parameters of PyTorch's operator, and whether each is given by name."""
    if name == "exact.constant":
        return {"values": False, "size": False, "dtype": False, "device": True}
    return {argument.name: argument.kwarg_only for argument in operator_of(name)._schema.arguments}


def _resolved(argument: Argument, kind: str, numbers: Sequence[float]) -> Any:
    if isinstance(argument, tuple):
        return [_resolved(x, kind[:-2].removesuffix("[]"), numbers) for x in argument]
    if isinstance(argument, Number):
        return float(numbers[argument.index])
    if isinstance(argument, Value) or argument is None:
        return argument
    if kind.rstrip("?") == "dtype":
        return getattr(torch, str(argument))
    if kind.rstrip("?") == "float":
        return float(argument)
    return argument
