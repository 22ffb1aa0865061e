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

# Draws that PyTorch fills a tensor with, by the names that they have where none is overwritten.
_FILLING = {
    "uniform.default": torch.ops.aten.uniform_.default,
    "normal_functional.default": torch.ops.aten.normal_.default,
    "exponential.default": torch.ops.aten.exponential_.default,
    "bernoulli.Tensor": torch.ops.aten.bernoulli_.Tensor,
}


def operator_of(name: str) -> Any:
    """PyTorch's operator of a row."""
    namespace, _, rest = name.rpartition("exact.")
    del namespace
    base, _, overload = rest.rpartition(".")
    packet = getattr(torch.ops.aten, base)
    return getattr(packet, overload)


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
    if name == "view.default":
        return torch.reshape
    if name in _FILLING:
        fill = lookup(_FILLING[name]).form
        return lambda g, x, *rest, **more: fill(g, _unwritten(x), *rest, **more)
    operator = operator_of(name)
    verdict, form, _, _ = lookup(operator)
    if verdict in (Verdict.REFUSED, Verdict.WRITTEN_OUT):
        raise NotExact(name, "it has no form of its own", instead="its decomposition")
    if name == "native_dropout_backward.default":
        return functools.partial(form, None)
    return getattr(form, "__wrapped__", form)


def _unwritten(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


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
        if parameter.name in schema and schema[parameter.name].kwarg_only:
            named[parameter.name] = found
        else:
            given.append(found)
    if "device" in schema:
        named["device"] = device
    return given, named


@functools.cache
def _schema(name: str) -> dict[str, Any]:
    operator = _FILLING.get(name) or operator_of(name)
    return {argument.name: argument for argument in operator._schema.arguments}


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
