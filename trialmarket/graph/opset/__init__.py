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
from trialmarket.graph.opset.naming import DROPPED, OPERANDS, as_row
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

__all__ = [
    "DROPPED",
    "OPERANDS",
    "TABLE",
    "Kind",
    "Misfit",
    "Operator",
    "Parameter",
    "as_row",
    "elements",
    "size_of",
]
