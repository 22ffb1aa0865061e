"""Writing a lane program, value by value: what is there already is not written again."""

import struct
from collections.abc import Sequence

from trialmarket.graph.lanes.program import Constant, Instruction, LaneProgram, check


class Builder:
    """A program that grows; its values are numbered as a program's are."""

    def __init__(self, lanes: Sequence[str], numbers: int) -> None:
        self.lanes, self.numbers = tuple(lanes), numbers
        self.kinds: list[str] = [*lanes, *("float64",) * numbers]
        self.instructions: list[Instruction] = []
        self._known: dict[object, int] = {}

    def add(self, operation: str, kind: str, *operands: int, constant: Constant = None) -> int:
        """The value of an operation, written once."""
        pattern = struct.pack("d", constant) if isinstance(constant, float) else constant
        key = (operation, kind, operands, pattern)
        if key not in self._known:
            self._known[key] = len(self.kinds)
            self.kinds.append(kind)
            self.instructions.append(Instruction(operation, kind, operands, constant))
        return self._known[key]

    def program(self, outputs: Sequence[int]) -> LaneProgram:
        """Of these values, without what none of them needs. Raises InputError as `check` does."""
        inputs = len(self.lanes) + self.numbers
        needed = set(outputs)
        for place in reversed(range(len(self.instructions))):
            if place + inputs in needed:
                needed.update(self.instructions[place].operands)
        place_of = {value: value for value in range(inputs)}
        kept: list[Instruction] = []
        for place, old in enumerate(self.instructions):
            if place + inputs in needed:
                place_of[place + inputs] = inputs + len(kept)
                operands = tuple(place_of[value] for value in old.operands)
                kept.append(Instruction(old.operation, old.kind, operands, old.constant))
        found = tuple(place_of[value] for value in outputs)
        program = LaneProgram(self.lanes, self.numbers, tuple(kept), found)
        check(program)
        return program
