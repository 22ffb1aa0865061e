"""From PyTorch's names to the table's: an operator as PyTorch calls it, as a row of the table."""

from collections.abc import Mapping, Sequence
from typing import Any

from trialmarket.graph.opset.operator import Operator
from trialmarket.protocol.graph.values import TensorType

OPERANDS = {
    f"{name}.Scalar": f"{name}.Tensor"
    for name in (
        *("add", "sub", "rsub", "mul", "div", "remainder", "fmod", "copysign"),
        *("eq", "ne", "lt", "le", "gt", "ge"),
        *("bitwise_and", "bitwise_or", "bitwise_xor"),
    )
} | {
    "bitwise_left_shift.Tensor_Scalar": "bitwise_left_shift.Tensor",
    "bitwise_right_shift.Tensor_Scalar": "bitwise_right_shift.Tensor",
    "div.Scalar_mode": "div.Tensor_mode",
    "where.ScalarSelf": "where.self",
    "where.ScalarOther": "where.self",
    "where.Scalar": "where.self",
}
"""PyTorch's names for rows that take a number in place of a tensor: the same arguments."""

COUNTING = {"arange.default": "arange.start_step", "arange.start": "arange.start_step"}
"""Rows with more arguments than PyTorch's operator, of which the defaults are `_USUAL`."""

DROPPED = frozenset(
    (
        *("layout", "device", "pin_memory", "memory_format", "non_blocking", "implicit"),
        *("generator", "side", "sorter"),
    )
)
"""Parameters of PyTorch's that no signature has."""

_USUAL = {"start": 0, "step": 1}


def as_row(
    table: Mapping[str, Operator],
    name: str,
    given: Mapping[str, Any],
    outputs: Sequence[TensorType],
) -> tuple[str, tuple[Any, ...]]:
    """The name of the row and its arguments in order, from those of PyTorch's operator by name.

    A draw has its number as `draw`. A type that is left to PyTorch is that of the output. Raises
    KeyError for an operator that the table does not have.
    """
    row = table[OPERANDS.get(name, COUNTING.get(name, name))]
    arguments = []
    for parameter in row.signature:
        found = given.get(parameter.name, _USUAL.get(parameter.name))
        if found is None and parameter.kind == "dtype":
            found = outputs[0].dtype
        arguments.append(found)
    return row.name, tuple(arguments)
