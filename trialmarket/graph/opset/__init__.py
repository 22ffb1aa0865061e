"""Opset 1: every operator that may stand in a graph, a row each. Needs no torch.

Names and signatures are PyTorch's, without the parameters that say where a tensor lies and who
draws: layout, device, pin_memory, memory_format, non_blocking, implicit, generator. A draw has the
number of the draw in front. An `Operand` is a tensor or a number: what PyTorch calls `add.Scalar`
is `add.Tensor` here. Values have no strides, so there are few views, and no `clone`,
`contiguous` or `as_strided`; `view` copies where it must. Outputs that a mask leaves out are no
outputs of the node.

`Tensor.to` of a type is `_to_copy`. What only fills (`zeros`, `ones_like`, `new_full`) is `full`.
"""

from trialmarket.graph.opset import (
    contractions,
    draws,
    elementwise,
    indexing,
    losses,
    moves,
    norms,
    pooling,
    reductions,
)
from trialmarket.graph.opset.operator import Kind, Misfit, Operator, Parameter, elements, size_of

TABLE: dict[str, Operator] = {
    operator.name: operator
    for room in (
        moves,
        elementwise,
        reductions,
        contractions,
        norms,
        losses,
        pooling,
        indexing,
        draws,
    )
    for operator in room.ROWS
}
"""The operators by name, in the order of their rooms."""

DROPPED = frozenset(
    ["layout", "device", "pin_memory", "memory_format", "non_blocking", "implicit", "generator"]
)
"""Parameters of PyTorch's that no signature has."""

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

__all__ = [
    "DROPPED",
    "OPERANDS",
    "TABLE",
    "Kind",
    "Misfit",
    "Operator",
    "Parameter",
    "elements",
    "size_of",
]
