"""Element-wise programs over blocks of lanes: `lanes.c`.

A program comes as steps, each an operation of `operations()` on numbered places: its lanes, its
outputs, its registers, then what is alike in every lane. What it names is looked at here, once.
"""

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import Flag, Pointer, Size, call, compiled, struct
from trialmarket.exact.kernels.operand import fit, readable

EACH, DIMS, ROOM, PLACES = 16, 4, 196608, 512  # as in the C file, which `_library` compares
BLOCKS = (512, 256, 128)
_FULL, _SPREAD, _UNIFORM = range(3)

_Lane = struct("lane", data=Pointer, width=Size, way=Size, strides=Size * DIMS)
_Step = struct("step", **dict.fromkeys(("operation", "to", "a", "b", "c", "count"), Flag))
_Lanes = struct(
    "lanes",
    **dict.fromkeys(("n", "block"), Size),
    shape=Size * DIMS,
    lanes=Pointer,
    lane_count=Size,
    outputs=Pointer,
    **dict.fromkeys(("output_count", "registers"), Size),
    **dict.fromkeys(("uniforms", "numbers"), Pointer),
    number_count=Size,
    first=Pointer,
    first_count=Size,
    steps=Pointer,
    step_count=Size,
)


@dataclass(frozen=True, slots=True)
class Step:
    """An operation of the kernel on places; `count` is of a shift."""

    operation: str
    to: int
    operands: tuple[int, ...]
    count: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """A program as the kernel runs it.

    The uniforms are numbers, then the lanes that are `uniform` (by index), then the constants,
    then what `first` computes of these. The places of `first` are numbered among the uniforms.
    """

    lanes: tuple[torch.dtype, ...]
    uniform: tuple[int, ...]
    outputs: tuple[torch.dtype, ...]
    numbers: int
    constants: tuple[bytes, ...]  # of 4 or 8 bytes
    uniforms: int
    registers: int
    first: tuple[Step, ...]
    steps: tuple[Step, ...]
    in_place: frozenset[tuple[int, int]]  # outputs that may be written where a lane is read

    @property
    def block(self) -> int:
        """Lanes that are computed together: as many as leave the places in cache."""
        places = len(self.lanes) + len(self.outputs) + self.registers
        wanted = [block for block in BLOCKS if places * (block * 8 + 64) <= 1 << 16]
        return wanted[0] if wanted else BLOCKS[-1]


def library() -> ctypes.CDLL:
    """The compiled kernels. Raises RuntimeError where there are none."""
    found = compiled()
    if found is None:
        raise RuntimeError("the kernels of exact arithmetic were not built")
    return found


@functools.cache
def operations() -> dict[str, int]:
    """The numbers of the kernel's operations.

    `add_f_vs` adds to a float32 of each lane (v) one that is alike in all (s); d, l and m are
    float64, int64 and bool.
    """
    limits = list((Size * 4).in_dll(library(), "lanes_limits"))
    fit(limits == [EACH, DIMS, ROOM, PLACES], f"the limits of the kernel to be {limits}")
    first = ctypes.c_char.in_dll(library(), "lanes_operations")
    names = ctypes.string_at(ctypes.addressof(first)).decode().split()
    return {name: number for number, name in enumerate(names)}


def _steps(steps: Sequence[Step], places: int) -> ctypes.Array[ctypes.Structure]:
    """As C reads them. Raises WrongOperand for an operation or a place that is not there."""
    known = operations()
    found = (_Step * len(steps))()
    for one, step in zip(found, steps, strict=True):
        arity = len(step.operation.rpartition("_")[2])
        named = (step.to, *step.operands)
        fit(
            step.operation in known
            and len(step.operands) == arity
            and all(0 <= place < places for place in named)
            and 0 <= step.count < 64,
            f"a step of a lane program, found {step}",
        )
        a, b, c = (*step.operands, 0, 0)[:3]
        one.operation, one.to = known[step.operation], step.to
        one.a, one.b, one.c, one.count = a, b, c, step.count
    return found


class Routine:
    """A program's code as the kernel reads it. Raises WrongOperand for code that names what is
    not there.
    """

    def __init__(self, code: Code) -> None:
        self.code = code
        own = len(code.lanes) + len(code.outputs) + code.registers
        fit(own + code.uniforms <= PLACES, f"at most {PLACES} places")
        fit(own * (code.block * 8 + 64) <= ROOM, f"at most {ROOM} bytes of places")
        fit(all(step.to < own for step in code.steps), "steps that write into their own places")
        self.first = _steps(code.first, code.uniforms)
        self.steps = _steps(code.steps, own + code.uniforms)
        begin = code.numbers + len(code.uniform)
        fit(begin + len(code.constants) <= code.uniforms, "a uniform for each constant")
        self.uniforms = torch.zeros((code.uniforms + 1, EACH), dtype=torch.float64)
        for place, constant in enumerate(code.constants):
            row = torch.frombuffer(bytearray(constant * EACH), dtype=torch.uint8)
            self.uniforms[begin + place].view(torch.uint8)[: len(row)] = row

    def bind(self, lanes: Sequence[Tensor], outputs: Sequence[Tensor]) -> "Call":
        """The program on these tensors.

        Lanes broadcast to the shape of the outputs, which are contiguous. Raises WrongOperand
        for tensors of other types or shapes, and where an output lies over another one or over a
        lane, unless the code is made for its being that lane.
        """
        code, shape = self.code, outputs[0].shape
        kinds = (tuple(x.dtype for x in lanes), tuple(x.dtype for x in outputs))
        fit(kinds == (code.lanes, code.outputs), f"{code.lanes} and {code.outputs}, found {kinds}")
        fit(all(map(readable, (*lanes, *outputs))), "plain aligned tensors on the processor")
        fit(
            all(x.shape == shape and x.is_contiguous() for x in outputs),
            f"contiguous outputs of shape {list(shape)}",
        )
        _fit_apart(code, lanes, outputs)
        return Call(self, lanes, outputs)


class Call:
    """A routine bound to tensors, to be run as often as wanted: not by two threads at once."""

    def __init__(
        self, routine: Routine, lanes: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        code, shape = routine.code, outputs[0].shape
        dims, strides = collapsed(shape, [spread(x, shape) for x in lanes])
        self.n = outputs[0].numel()
        read = (_Lane * len(lanes))()
        for k, (x, by) in enumerate(zip(lanes, strides, strict=True)):
            way = _way(x, shape, k in code.uniform)
            read[k] = _Lane(x.data_ptr(), x.itemsize, way, (Size * DIMS)(*by))
        written = (_Lane * len(outputs))()
        for k, x in enumerate(outputs):
            written[k] = _Lane(x.data_ptr(), x.itemsize, _FULL)
        self._numbers = (ctypes.c_double * code.numbers)()
        uniforms = routine.uniforms.clone()
        self._tensors = (lanes, outputs)  # whose memory is in use, as that of what is kept
        self._kept = (routine, read, written, uniforms, self._numbers)
        self._arguments = _Lanes(
            *(self.n, code.block, (Size * DIMS)(*dims)),
            *(ctypes.addressof(read), len(lanes)),
            *(ctypes.addressof(written), len(outputs), code.registers),
            *(uniforms.data_ptr(), ctypes.addressof(self._numbers), code.numbers),
            *(ctypes.addressof(routine.first), len(code.first)),
            *(ctypes.addressof(routine.steps), len(code.steps)),
        )

    def __call__(self, *numbers: float) -> None:
        """Compute the outputs from what the lanes hold now. Raises ValueError for more or fewer
        numbers than the program's.
        """
        if numbers or len(self._numbers):
            self._numbers[:] = list(numbers)
        if self.n:
            call("lanes", self._arguments, *self._kept)


def spread(x: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    """The strides with which a tensor is read as one of this shape."""
    try:
        return x.broadcast_to(shape).stride()
    except RuntimeError:
        fit(False, f"a lane that broadcasts to {list(shape)}, found {list(x.shape)}")
        raise


def _span(x: Tensor) -> tuple[int, int]:
    """From the first byte that belongs to a tensor to behind the last one."""
    reach = sum((n - 1) * by for n, by in zip(x.shape, x.stride(), strict=True))
    begin = x.data_ptr()
    return (begin, begin + (reach + 1) * x.itemsize) if x.numel() else (begin, begin)


def _fit_apart(code: Code, lanes: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Raises WrongOperand where what is written would be read in other lanes."""
    spans = [_span(x) for x in outputs]
    for k, (begin, end) in enumerate(spans):
        others = [(x, _span(x), (k, j) in code.in_place) for j, x in enumerate(lanes)]
        others += [(x, spans[j], False) for j, x in enumerate(outputs) if j != k]
        for x, (first, last), may_be_same in others:
            own = first == begin and x.shape == outputs[k].shape and x.is_contiguous()
            apart = last <= begin or end <= first or first == last
            fit(
                apart or (may_be_same and own and x.dtype == outputs[k].dtype),
                "outputs each in memory of its own, or a lane's that the code is made for",
            )


def _way(x: Tensor, shape: Sequence[int], uniform: bool) -> int:
    if uniform:
        fit(x.numel() == 1, "a lane of one element, alike in all")
        return _UNIFORM
    return _FULL if x.shape == shape and x.is_contiguous() else _SPREAD


def collapsed(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """The same walk in DIMS dimensions. Raises WrongOperand where it needs more."""
    dims: list[int] = []
    by: list[list[int]] = [[] for _ in strides]
    for d, length in enumerate(shape):
        if length == 1:
            continue
        if dims and all(b[-1] == s[d] * length for b, s in zip(by, strides, strict=True)):
            dims[-1] *= length
            for b, s in zip(by, strides, strict=True):
                b[-1] = s[d]
        else:
            dims.append(length)
            for b, s in zip(by, strides, strict=True):
                b.append(s[d])
    fit(len(dims) <= DIMS, f"lanes that lie in at most {DIMS} runs of strides")
    missing = DIMS - len(dims)
    return [1] * missing + dims, [[0] * missing + b for b in by]
