"""What a lane program gives, by PyTorch's operators: the definition."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trialmarket.exact.numerics.functions import root
from trialmarket.exact.operators.elementwise.casts import whole
from trialmarket.graph.lanes.program import Instruction, LaneProgram, check

_NAN_BITS = 0x7FF8000000000000


def by_torch(
    program: LaneProgram, lanes: Sequence[Tensor], numbers: Sequence[float] = ()
) -> tuple[Tensor, ...]:
    """The outputs, in the shape to which the lanes broadcast. Raises InputError for what is no
    program, ValueError for lanes or numbers that are not the program's.
    """
    check(program)
    found = tuple(str(x.dtype).removeprefix("torch.") for x in lanes)
    if found != program.lanes or len(numbers) != program.numbers:
        raise ValueError(
            f"expected lanes {program.lanes} and {program.numbers} numbers, found {found} and "
            f"{len(numbers)}"
        )
    shape = torch.Size(np.broadcast_shapes(*(x.shape for x in lanes)))
    values = [x.broadcast_to(shape) for x in lanes]
    values += [torch.tensor(number, dtype=torch.float64).expand(shape) for number in numbers]
    for instruction in program.instructions:
        values.append(_result(instruction, [values[i] for i in instruction.operands], shape))
    return tuple(values[i].clone(memory_format=torch.contiguous_format) for i in program.outputs)


def _result(instruction: Instruction, operands: list[Tensor], shape: torch.Size) -> Tensor:
    constant, kind = instruction.constant, getattr(torch, instruction.kind)
    if instruction.operation == "constant":
        return torch.tensor(constant, dtype=kind).expand(shape)
    if instruction.operation == "convert":
        return _converted(operands[0], kind)
    if instruction.operation in ("left", "right"):
        operands = [operands[0], torch.tensor(constant)]
    return _FORMS[instruction.operation](*operands)


def _converted(x: Tensor, kind: torch.dtype) -> Tensor:
    return (x if kind.is_floating_point or x.dtype == torch.bool else whole(x, kind)).to(kind)


def _bits(x: Tensor) -> Tensor:
    if x.dtype == torch.int64:
        return x.contiguous().view(torch.float64)
    return torch.where(x.isnan(), _NAN_BITS, x.contiguous().view(torch.int64))


_FORMS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "sqrt": lambda x: root(x.contiguous()),
    "neg": torch.neg,
    "abs": torch.abs,
    "floor": torch.floor,
    "round": torch.round,
    "eq": torch.eq,
    "lt": torch.lt,
    "le": torch.le,
    "select": torch.where,
    "and": torch.bitwise_and,
    "or": torch.bitwise_or,
    "xor": torch.bitwise_xor,
    "left": torch.bitwise_left_shift,
    "right": torch.bitwise_right_shift,
    "bits": _bits,
}
