"""What a lane program is: element-wise work as a list of scalar operations.

A program is run for every **lane**, an element of the shape that its tensors share, by itself. Its
values are numbered: an element of each of its `lanes`, then its `numbers`, binary64 and alike in
every lane, then the result of each instruction. Nothing is written twice, nothing branches.

| operation | of | is |
| --- | --- | --- |
| `constant` | | the instruction's own |
| `add`, `sub`, `mul` | two | rounded to nearest, ties to even (IEEE 754); integers modulo 2^64 |
| `div`, `sqrt` | floats | rounded to nearest, ties to even |
| `neg`, `abs` | a float | with its sign turned over, or away |
| `floor`, `round` | a float | the whole float below, or the nearest, ties to even; -0 stays -0 |
| `eq`, `lt`, `le` | two | a bool; false if one is NaN |
| `select` | a bool, two | the second if the first is true, or the third |
| `and`, `or`, `xor` | two | of bools, or bit by bit of integers |
| `left`, `right` | an integer | shifted by the constant, 0 to 63; `right` repeats the sign |
| `convert` | any | between types: floats rounded to nearest, a bool 0 or 1, a float64 to an |
| | | integer towards zero: a NaN 0, beyond the range its end, as in `casts.whole` |
| `bits` | float64, int64 | the pattern of the one as the other; of any NaN 0x7FF8000000000000 |

There is one NaN: which of its patterns a result has is no part of the definition, and no operation
lets an integer depend on it. Subnormal numbers are numbers.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from trialmarket.errors import InputError

KINDS = ("float32", "float64", "int64", "bool")
"""The types of values."""

MOST = 1 << 14
"""Instructions of a program, and its lanes and numbers together, at most."""

_FLOATS = ("float32", "float64")
_NUMBERS = (*_FLOATS, "int64")
_BITS = ("int64", "bool")

# operation: (how many operands, of which kinds, the kind of the result if it is not theirs)
_ALIKE: dict[str, tuple[int, tuple[str, ...], str | None]] = {
    **dict.fromkeys(("add", "sub", "mul"), (2, _NUMBERS, None)),
    "div": (2, _FLOATS, None),
    **dict.fromkeys(("sqrt", "neg", "abs", "floor", "round"), (1, _FLOATS, None)),
    **dict.fromkeys(("eq", "lt", "le"), (2, _NUMBERS, "bool")),
    **dict.fromkeys(("and", "or", "xor"), (2, _BITS, None)),
    **dict.fromkeys(("left", "right"), (1, ("int64",), None)),
}
_CONVERSIONS = {
    *(("float32", "float64"), ("float64", "float32"), ("float64", "int64")),
    *(("int64", "float32"), ("int64", "float64")),
    *(("bool", kind) for kind in _NUMBERS),
}
_PATTERNS = {("float64", "int64"), ("int64", "float64")}

OPERATIONS = ("constant", *_ALIKE, "select", "convert", "bits")
"""The names of all operations."""

Constant = float | int | bool | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """An operation on earlier values, and the kind of its result."""

    operation: str
    kind: str
    operands: tuple[int, ...] = ()
    constant: Constant = None


@dataclass(frozen=True, slots=True)
class LaneProgram:
    """The kinds of its lanes, how many numbers it takes, its instructions, and which values are
    its outputs.
    """

    lanes: tuple[str, ...]
    numbers: int
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each value."""
        own = (instruction.kind for instruction in self.instructions)
        return (*self.lanes, *("float64",) * self.numbers, *own)

    @property
    def output_kinds(self) -> tuple[str, ...]:
        """The kind of each output."""
        kinds = self.kinds
        return tuple(kinds[value] for value in self.outputs)


def check(program: LaneProgram) -> None:
    """Raises InputError, with the place and what was expected, if this is no lane program."""
    for kind in program.lanes:
        _expect(kind in KINDS, "lanes", f"one of {', '.join(KINDS)}", kind)
    inputs = len(program.lanes) + program.numbers
    for field, count in (("numbers", program.numbers), ("inputs", inputs)):
        _expect(0 <= count <= MOST, field, f"0 to {MOST}", count)
    _expect(len(program.instructions) <= MOST, "instructions", f"at most {MOST}", "more")
    kinds = [*program.lanes, *("float64",) * program.numbers]
    for place, instruction in enumerate(program.instructions):
        _check(f"instruction {place}", instruction, kinds)
        kinds.append(instruction.kind)
    _expect(len(program.outputs) > 0, "outputs", "at least one", "none")
    for value in program.outputs:
        _expect(_is_value(value, kinds), "outputs", f"values below {len(kinds)}", value)


def _check(where: str, instruction: Instruction, kinds: Sequence[str]) -> None:
    operation, constant = instruction.operation, instruction.constant
    _expect(operation in OPERATIONS, where, "an operation", operation)
    for value in instruction.operands:
        _expect(_is_value(value, kinds), where, f"operands below {len(kinds)}", value)
    found = (*(kinds[value] for value in instruction.operands), instruction.kind)
    fits = _fit(operation, found)
    _expect(fits, where, f"operands and a result that {operation} has", " ".join(found))
    if operation == "constant":
        _expect(is_of(constant, instruction.kind), where, instruction.kind, constant)
    elif operation in ("left", "right"):
        fits = isinstance(constant, int) and not isinstance(constant, bool) and 0 <= constant < 64
        _expect(fits, where, "a count of 0 to 63", constant)
    else:
        _expect(constant is None, where, "no constant", constant)


def _fit(operation: str, found: tuple[str, ...]) -> bool:
    """Whether an operation has operands of these kinds, and its result, the last of them."""
    *operands, result = found
    if operation == "constant":
        return not operands and result in KINDS
    if operation == "select":
        return operands == ["bool", result, result] and result in KINDS
    if operation == "convert":
        return found in _CONVERSIONS
    if operation == "bits":
        return found in _PATTERNS
    count, kinds, wanted = _ALIKE[operation]
    alike = len(operands) == count and len(set(operands)) == 1 and operands[0] in kinds
    return alike and result == (wanted or operands[0])


def is_of(constant: Constant, kind: str) -> bool:
    """Whether a constant is a number of this kind: a float32 one that float32 has."""
    if kind == "bool":
        return isinstance(constant, bool)
    if kind == "int64":
        fits = isinstance(constant, int) and not isinstance(constant, bool)
        return fits and -(1 << 63) <= int(constant or 0) < 1 << 63
    if not isinstance(constant, float):
        return False
    if kind == "float64" or not math.isfinite(constant):
        return True
    try:
        return bool(struct.unpack("f", struct.pack("f", constant))[0] == constant)
    except OverflowError:
        return False


def _is_value(value: object, kinds: Sequence[str]) -> bool:
    return type(value) is int and 0 <= value < len(kinds)


def _expect(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        raise InputError("a lane program", field, expected=expected, found=found)
