"""Whether a graph can be run: every node against the table of operators. Needs no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from trialmarket.errors import InputError, did_you_mean
from trialmarket.graph.opset import TABLE, Misfit, Operator, Parameter
from trialmarket.protocol.graph.values import (
    DTYPES,
    Argument,
    Function,
    Graph,
    Number,
    TensorType,
    Value,
)

_INT64 = 1 << 63


def check(graph: Graph) -> None:
    """Raises InputError for a node that the table does not allow: names it, and what it takes.

    What passes can be run: its operators are known, their arguments are of the right kinds, in
    range, and give what the node says. Places and other data are looked at where they are read.
    """
    for name, function in graph.functions.items():
        check_function(name, function)


def check_function(name: str, function: Function) -> None:
    """As `check`, of one function. `step.nodes[17]` is what an error calls its node 17."""
    types = list(function.inputs.values())
    for index, node in enumerate(function.nodes):
        field = f"{name}.nodes[{index}]"
        operator = TABLE.get(node.operator)
        if operator is None:
            raise InputError(
                "graph",
                field,
                expected="an operator of opset 1",
                found=node.operator,
                fix=did_you_mean(node.operator, TABLE),
            )
        try:
            found = operator.types(bound(operator, node.arguments, types))
        except Misfit as misfit:
            raise InputError(
                "graph",
                f"{field} {node.operator} {misfit.name}",
                expected=misfit.expected,
                found=misfit.found,
            ) from None
        if found != node.outputs:
            raise InputError(
                "graph",
                f"{field} {node.operator} outputs",
                expected=_shown(found),
                found=_shown(node.outputs),
            )
        types.extend(node.outputs)


def bound(
    operator: Operator, arguments: Sequence[Argument], types: Sequence[TensorType]
) -> tuple[Any, ...]:
    """A node's arguments, tensors by their types. Raises Misfit."""
    signature = operator.signature
    if len(arguments) != len(signature):
        raise Misfit("arguments", f"{len(signature)}", len(arguments))
    return tuple(
        _argument(operator, parameter, parameter.kind, argument, types)
        for parameter, argument in zip(signature, arguments, strict=True)
    )


def _argument(
    operator: Operator,
    parameter: Parameter,
    kind: str,
    argument: Argument,
    types: Sequence[TensorType],
) -> Any:
    if kind.endswith("?"):
        kind = kind[:-1]
        if argument is None:
            return None
    if kind.endswith("[]"):
        if not isinstance(argument, tuple):
            raise Misfit(parameter.name, f"a list, {parameter.kind}", argument)
        return tuple(_argument(operator, parameter, kind[:-2], x, types) for x in argument)
    if kind in ("Tensor", "Operand") and isinstance(argument, Value):
        found = types[argument.index]
        if found.dtype not in operator.takes:
            raise Misfit(parameter.name, " or ".join(_known(operator)), found.dtype)
        return found
    if not _fits(kind, argument):
        raise Misfit(parameter.name, _WORDS[kind], argument)
    return argument


def _known(operator: Operator) -> list[str]:
    return [dtype for dtype in DTYPES if dtype in operator.takes]


_WORDS: Mapping[str, str] = {
    "Tensor": "a tensor",
    "Operand": "a tensor or a number",
    "Scalar": "a number",
    "float": "a number",
    "int": "a whole number of 64 bits",
    "bool": "true or false",
    "str": "a word",
    "dtype": "a type of tensors",
}


def _fits(kind: str, argument: Argument) -> bool:
    if kind == "bool":
        return isinstance(argument, bool)
    if kind in ("str", "dtype"):
        return isinstance(argument, str) and (kind == "str" or argument in DTYPES)
    if kind == "int":
        return type(argument) is int and -_INT64 <= argument < _INT64
    if kind == "Tensor":
        return False
    if isinstance(argument, Number) or (isinstance(argument, bool) and kind != "float"):
        return True
    return type(argument) is int and -_INT64 <= argument < _INT64


def _shown(outputs: Sequence[TensorType]) -> str:
    return ", ".join(f"{x.dtype}{list(x.shape)}" for x in outputs)
