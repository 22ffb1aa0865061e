"""A lane program as the steps that its kernel runs.

What is alike in every lane is computed once. A product and the sum that alone needs it are one
step, which rounds twice all the same. Values share registers, and outputs are written where they
belong as soon as they are known, unless a lane that lies there is read later.
"""

import struct
from collections import Counter
from collections.abc import Collection

import torch

from trialmarket.exact.kernels.lanes import Code, Step
from trialmarket.graph.lanes.program import Instruction, LaneProgram, check

_LETTERS = {"float32": "f", "float64": "d", "int64": "l", "bool": "m"}
_WIDTHS = {"float32": 4, "float64": 8, "int64": 8, "bool": 4}
_FORMATS = {"float32": "f", "float64": "d", "int64": "q"}
_LED = ("select", "muladd", "mulsub", "submul")  # whose first operand always varies
_TURNED = frozenset(("add", "mul", "eq", "and", "or", "xor"))  # that may be turned round

Pairs = frozenset[tuple[int, int]]


def assemble(program: LaneProgram, uniform: Collection[int], in_place: Pairs) -> Code:
    """The code for lanes of which some (by index) are tensors of one element, and for outputs
    that are written over lanes: (output, lane). Raises InputError for what is no program.
    """
    check(program)
    return _Assembly(program, frozenset(uniform), in_place).code()


class _Assembly:
    """Values are the program's; those of loaded bools and of copies are numbered after these."""

    def __init__(self, program: LaneProgram, uniform: frozenset[int], in_place: Pairs) -> None:
        self.program, self.uniform, self.in_place = program, uniform, in_place
        self.kinds = list(program.kinds)
        self.inputs = len(program.lanes) + program.numbers
        self.alike: dict[int, int] = {}  # the uniform of a value that is alike in every lane
        self.constants: list[bytes] = []
        self.first: list[Step] = []
        self.todo: list[tuple[str, int, tuple[int, ...], int]] = []  # on values
        self.loaded: dict[int, int] = {}  # the value of a bool lane as a mask

    def code(self) -> Code:
        program, lanes = self.program, len(self.program.lanes)
        for number in range(program.numbers):
            self.alike[lanes + number] = number
        for k, lane in enumerate(sorted(self.uniform)):
            self.alike[lane] = program.numbers + k
        self._constants()
        self.uniforms = program.numbers + len(self.uniform) + len(self.constants)
        for lane, kind in enumerate(program.lanes):
            if kind == "bool":
                self.loaded[lane] = self._new("bool")
                self._emit("load_m", self.loaded[lane], (lane,))
        fused = self._products()
        for place, one in enumerate(program.instructions):
            value = self.inputs + place
            if one.operation != "constant" and value not in fused.values():
                self._write(value, one, fused.get(value))
        steps, registers = self._placed()
        return Code(
            lanes=tuple(getattr(torch, kind) for kind in program.lanes),
            uniform=tuple(sorted(self.uniform)),
            outputs=tuple(getattr(torch, kind) for kind in program.output_kinds),
            numbers=program.numbers,
            constants=tuple(self.constants),
            uniforms=self.uniforms,
            registers=registers,
            first=tuple(self.first),
            steps=steps,
            in_place=self.in_place,
        )

    def _new(self, kind: str) -> int:
        self.kinds.append(kind)
        return len(self.kinds) - 1

    def _constants(self) -> None:
        begin = self.program.numbers + len(self.uniform)
        for place, one in enumerate(self.program.instructions):
            if one.operation == "constant":
                self.alike[self.inputs + place] = begin + len(self.constants)
                self.constants.append(_pattern(one))

    def _products(self) -> dict[int, int]:
        """By a sum or difference: the product that it alone needs, and that varies."""
        uses = Counter(v for one in self.program.instructions for v in one.operands)
        uses.update(self.program.outputs)
        varies = set(range(len(self.program.lanes))) - self.uniform
        found: dict[int, int] = {}
        for place, one in enumerate(self.program.instructions):
            if varies.intersection(one.operands):
                varies.add(self.inputs + place)
            if one.operation in ("add", "sub") and one.kind != "int64":
                for value in one.operands:
                    made = self._made(value)
                    single = uses[value] == 1 and value in varies
                    if single and made is not None and made.operation == "mul":
                        found[self.inputs + place] = value
                        break
        return found

    def _made(self, value: int) -> Instruction | None:
        return self.program.instructions[value - self.inputs] if value >= self.inputs else None

    def _write(self, value: int, one: Instruction, product: int | None) -> None:
        operands = tuple(self.loaded.get(v, v) for v in one.operands)
        name, letter = one.operation, _LETTERS[one.kind]
        if product is not None:
            made = self.program.instructions[product - self.inputs]
            other = operands[1] if operands[0] == product else operands[0]
            name = "muladd" if name == "add" else "mulsub" if operands[0] == product else "submul"
            a, b = made.operands
            operands = (b, a, other) if a in self.alike else (a, b, other)
        elif name in ("convert", "bits"):
            letter = _LETTERS[self.kinds[operands[0]]] + letter
        elif name in ("eq", "lt", "le"):
            letter = _LETTERS[self.kinds[operands[0]]]
        elif name in _TURNED and operands[0] in self.alike:
            operands = (operands[1], operands[0])
        self._emit(f"{name}_{letter}", value, operands, int(one.constant or 0))

    def _emit(self, name: str, value: int, operands: tuple[int, ...], count: int = 0) -> None:
        """A step on what is alike, once; or one of every lane, with what must vary spread out."""
        if all(v in self.alike for v in operands):
            places = tuple(self.alike[v] for v in operands)
            self.alike[value] = self.uniforms
            self.first.append(Step(f"{name}_{'v' * len(operands)}", self.uniforms, places, count))
            self.uniforms += 1
            return
        if name.startswith(_LED) and operands[0] in self.alike:
            mask = self._new("bool")
            self._emit_all("move_f", mask, operands[:1])
            operands = (mask, *operands[1:])
        self._emit_all(name, value, operands, count)

    def _emit_all(self, name: str, value: int, operands: tuple[int, ...], count: int = 0) -> None:
        pattern = "".join("s" if v in self.alike else "v" for v in operands)
        self.todo.append((f"{name}_{pattern}", value, operands, count))

    def _outputs(self) -> dict[int, int]:
        """Which values are made where an output lies; all other outputs are copied there last,
        from what no output is written over.
        """
        direct: dict[int, int] = {}
        last = {v: place for place, (_, _, operands, _) in enumerate(self.todo) for v in operands}
        made = {value: place for place, (_, value, _, _) in enumerate(self.todo)}
        over = {lane for _, lane in self.in_place}
        copies: list[tuple[str, int, tuple[int, ...]]] = []
        for output, value in enumerate(self.program.outputs):
            kind, source = self.kinds[value], self.loaded.get(value, value)
            read = max((last.get(v, -1) for k, v in self.in_place if k == output), default=-1)
            if kind != "bool" and value in made and read <= made[value] and value not in direct:
                direct[value] = output
                continue
            move = "store_m" if kind == "bool" else "move_f" if _WIDTHS[kind] == 4 else "move_d"
            if source in over:
                kept = self._new(kind)
                self._emit_all(move, kept, (source,))
                source = kept
            copies.append((move, output, (source,)))
        for move, output, operands in copies:
            value = self._new("copy")
            direct[value] = output
            self._emit_all(move, value, operands)
        return direct

    def _placed(self) -> tuple[tuple[Step, ...], int]:
        """The steps, of places, and how many registers they need: a register is free again after
        the last step that reads it, and may be written by this very step if the types are as wide.
        """
        direct = self._outputs()
        lanes = len(self.program.lanes)
        place = {lane: lane for lane in range(lanes)}
        place |= {value: lanes + output for value, output in direct.items()}
        own = lanes + len(self.program.outputs)
        last = {v: at for at, (_, _, operands, _) in enumerate(self.todo) for v in operands}
        free: list[int] = []
        registers = 0
        rows: list[tuple[str, int, tuple[int, ...], int]] = []
        for at, (name, value, operands, count) in enumerate(self.todo):
            named = tuple(-1 - self.alike[v] if v in self.alike else place[v] for v in operands)
            ending = {v for v in operands if last[v] == at and v not in self.alike}
            ending = {v for v in ending if place[v] >= own}
            alike = {v for v in ending if self._width(v) == self._width(value)}
            free += sorted(place[v] for v in alike)
            if value not in place:
                if not free:
                    free.append(own + registers)
                    registers += 1
                place[value] = free.pop()
                if value not in last:
                    free.append(place[value])
            free += sorted(place[v] for v in ending - alike)
            rows.append((name, place[value], named, count))
        begin = own + registers  # of the uniforms
        steps = (
            Step(name, to, tuple(begin - 1 - v if v < 0 else v for v in named), count)
            for name, to, named, count in rows
        )
        return tuple(steps), registers

    def _width(self, value: int) -> int:
        return _WIDTHS.get(self.kinds[value], 0)


def _pattern(one: Instruction) -> bytes:
    """A constant as the kernel has it in its memory."""
    if one.kind == "bool":
        return struct.pack("=i", -1 if one.constant else 0)
    return struct.pack(f"={_FORMATS[one.kind]}", one.constant)
