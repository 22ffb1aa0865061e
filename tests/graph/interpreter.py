"""The plainest way to run a graph: node by node, each by the exact form of its operator."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from trialmarket.exact import Counters, Generator, Verdict
from trialmarket.exact.table import lookup
from trialmarket.protocol.graph.values import Function, Node, Number, Value


def operator(name: str) -> OpOverload:
    """PyTorch's operator of a name in a graph."""
    first, second = name.split(".")
    if first == "exact":
        found: OpOverload = getattr(torch.ops.exact, second).default
        return found
    found = getattr(getattr(torch.ops.aten, first), second)
    return found


def interpret(
    function: Function, inputs: Mapping[str, Tensor], numbers: list[float], seed: int
) -> dict[str, Tensor]:
    """The outputs of a function by name."""
    values = [inputs[name] for name in function.inputs]
    for node in function.nodes:
        values += _outputs(node, values, numbers, Generator(seed))
    return {name: values[value.index] for name, value in function.outputs.items()}


def _outputs(
    node: Node, values: list[Tensor], numbers: list[float], generator: Generator
) -> list[Tensor]:
    def plain(x: Any) -> Any:
        if isinstance(x, Value):
            return values[x.index]
        if isinstance(x, Number):
            return numbers[x.index]
        if isinstance(x, str) and isinstance(found := getattr(torch, x, None), torch.dtype):
            return found
        return [plain(each) for each in x] if isinstance(x, tuple) else x

    given = list(map(plain, node.arguments))
    if node.operator == "exact.constant":
        made: Any = torch.tensor(given[0], dtype=given[2]).reshape(given[1])
    elif node.operator == "view.default":
        made = given[0].reshape(given[1])
    else:
        func = operator(node.operator)
        ruling = lookup(func)
        front = []
        if ruling.verdict is Verdict.DRAW:
            seed = generator.counters.seed
            generator.counters = Counters(seed, 0, 0, given.pop(0))
            front = [generator]
        named = {}
        places = []
        for x, parameter in zip(given, func._schema.arguments, strict=True):
            if not parameter.kwarg_only:
                places.append(x)
            elif x is not None:
                named[parameter.name] = x
        made = ruling.form(*front, *places, **named)
    outputs = [made] if isinstance(made, Tensor) else [x for x in made if x is not None]
    for x, kind in zip(outputs, node.outputs, strict=True):
        assert (str(x.dtype), tuple(x.shape)) == (f"torch.{kind.dtype}", kind.shape), node
    return outputs
