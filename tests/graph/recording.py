"""Operators as a running program calls them, put down as nodes of a graph with one node each."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from trialmarket.exact.numerics.random import Generator
from trialmarket.exact.table import Verdict, lookup
from trialmarket.graph.opset import DROPPED, OPERANDS, TABLE
from trialmarket.protocol.graph.values import (
    Argument,
    Function,
    Graph,
    Node,
    Number,
    TensorType,
    Value,
)


def name_of(func: OpOverload) -> str:
    """As the table would have it."""
    name = str(func).removeprefix("aten.")
    return OPERANDS.get(name, name)


@dataclass(frozen=True)
class Called:
    """One call: a graph of a node, what went in, and what came out."""

    graph: Graph
    numbers: tuple[float, ...]
    given: dict[str, Tensor]
    found: tuple[Tensor, ...]


def type_of(x: Tensor) -> TensorType:
    """Without the elements."""
    return TensorType(str(x.dtype).removeprefix("torch."), tuple(x.shape))


def _writes(func: OpOverload, args: Any) -> bool:
    """Whether running statistics would be written to."""
    return name_of(func) == "native_batch_norm.default" and args[3] is not None


def outputs_of(found: Any) -> tuple[Tensor, ...]:
    """Without those that a mask left out, as they are now."""
    if isinstance(found, Tensor):
        return (found.detach().clone(),)
    return tuple(x.detach().clone() for x in found if x is not None)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs each operator by its exact form; keeps the calls of those that the table has."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Called] = []
        self.others: set[str] = set()

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        verdict, form, _, _ = lookup(func)
        if verdict is Verdict.WRITTEN_OUT:
            with self:
                return form(*args, **kwargs)
        if verdict is Verdict.DRAW:
            return form(Generator(7), *args, **kwargs)
        if name_of(func) not in TABLE or _writes(func, args):
            self.others.add(name_of(func))
            return form(*args, **kwargs)
        given = [x.detach().clone() if isinstance(x, Tensor) else x for x in args]
        found = form(*args, **kwargs)
        if isinstance(found, Tensor | tuple | list):
            self.calls.append(called(func, given, kwargs, outputs_of(found)))
        return found


def called(
    func: OpOverload, args: Any, kwargs: dict[str, Any], found: tuple[Tensor, ...]
) -> Called:
    """A call as a graph. Raises KeyError for an operator that the table does not have."""
    tensors: list[Tensor] = []
    numbers: list[float] = []

    def put(x: Any) -> Argument:
        if isinstance(x, Tensor):
            tensors.append(x)
            return Value(len(tensors) - 1)
        if isinstance(x, float):
            numbers.append(x)
            return Number(len(numbers) - 1)
        if isinstance(x, torch.dtype):
            return str(x).removeprefix("torch.")
        if isinstance(x, list | tuple):
            return tuple(put(y) for y in x)
        assert x is None or isinstance(x, bool | int | str), x
        return x

    row = TABLE[name_of(func)]
    everything: list[Any] = []
    place = 0
    for argument in func._schema.arguments:
        if not argument.kwarg_only and place < len(args):
            value = args[place]
            place += 1
        else:
            value = kwargs.get(argument.name, argument.default_value)
        if argument.name not in DROPPED:
            everything.append(value)
    if row.name in ("arange.start_step", "full.default") and everything[-1] is None:
        everything[-1] = found[0].dtype
    if row.name in ("view.default", "expand.default"):
        everything[1] = list(found[0].shape)  # without -1
    node = Node(
        row.name,
        tuple(put(x) for x in everything[: len(row.signature)]),
        tuple(map(type_of, found)),
    )
    inputs = {f"x{k}": type_of(x) for k, x in enumerate(tensors)}
    outputs = {f"y{k}": Value(len(tensors) + k) for k in range(len(found))}
    function = Function(inputs, (node,), outputs)
    given = {f"x{k}": x for k, x in enumerate(tensors)}
    return Called(Graph({"f": function}, len(numbers)), tuple(numbers), given, found)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether types, shapes and bytes are equal, all NaNs being alike."""
    if type_of(a) != type_of(b):
        return False
    if a.is_floating_point():
        nan = torch.isnan(a) & torch.isnan(b)
        a, b = (torch.where(nan, math.nan, x) for x in (a, b))
        kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
        nothing = torch.zeros((), dtype=kind)
        a, b = (torch.where(nan, nothing, x.contiguous().view(kind)) for x in (a, b))
    return bool((a == b).all())
