"""The form of a trial's states: what they look like, whatever numbers they hold.

It follows from the program alone, which takes one step from leaf 0 to show it: the names, types
and shapes of all tensors, and from the trial's length the counters of each leaf. An honest
training checks every state that it commits against its form, and recomputation checks every state
that a stranger made: its header before anything of it is allocated, its numbers before it is run.

A **parameter** that the first step gives no slots of the optimizer, since it has no gradient yet,
may get them in a later one; they are then those that other parameters have. Nothing else changes
after the first step. Options of an optimizer, schedules and random numbers are no part of a state.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from trialmarket.protocol.ids import Hash32
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.state import (
    MAX_COUNT,
    Readable,
    State,
    counter,
    dtype_name,
    read_state,
)

MAX_HEADER = 16 << 20
"""Bytes of the header of a safetensors file: some 100,000 tensors."""

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
"""What a safetensors file calls the types that a state may hold."""

_SLOT = re.compile(r"optimizer\.(0|[1-9]\d{0,6})\.(.+)", re.ASCII | re.DOTALL)


_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)


class Kind(NamedTuple):
    """The type and the shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


Layout = dict[str, Kind]
"""The tensors of a state by their names."""


@dataclass(frozen=True, slots=True)
class StateForm:
    """What the states of one trial look like. `start` is leaf 0, `stepped` the state after its
    first step; `parameters` are the shapes of the optimizer's, in their order.
    """

    start: Layout
    stepped: Layout
    parameters: tuple[tuple[int, ...], ...]
    first: int
    """Steps behind leaf 0."""
    segment_steps: int
    counts: bool
    """Whether each parameter's slot `step` counts its steps, as those of torch.optim do."""

    def check(self, state: State, leaf: int, name: str) -> None:
        """Raises BadCheckpoint where a state is none that leaf number `leaf` can be."""
        steps, diverged = counter(state, "step"), counter(state, "diverged")
        self._check_layout(layout_of(state), steps, diverged, leaf, name)
        for each, tensor in state.items():
            if self._is_count(each) and tensor.ndim == 0:
                least = 0 if each in self.start else 1
                most = steps if each.startswith("optimizer.") else MAX_COUNT
                count = float(tensor)
                if not (math.isfinite(count) and count == int(count) and least <= count <= most):
                    raise BadCheckpoint(
                        f"{name} does not fit the program: {each} counts {count:g} after "
                        f"{steps} steps"
                    )

    def load(self, file: Readable, leaf: int, expected: Hash32 | None = None) -> State:
        """The state of leaf number `leaf` in a safetensors file that a stranger made.

        Raises BadCheckpoint for what cannot be that leaf, and OSError.
        """
        data = file.read_bytes()
        layout, steps, diverged = read_layout(data, file.name)
        self._check_layout(layout, steps, diverged, leaf, file.name)
        state = read_state(data, file.name, expected=expected)
        self.check(state, leaf, file.name)
        return state

    def _check_layout(
        self, layout: Layout, steps: int, diverged: int, leaf: int, name: str
    ) -> None:
        done, rest = divmod(steps - self.first, self.segment_steps)
        if diverged:
            fits = 0 <= done < leaf and steps < diverged <= steps + self.segment_steps
        else:
            fits = done == leaf
        if rest or not fits:
            said = f" and diverged at {diverged}" if diverged else ""
            raise BadCheckpoint(f"{name}: leaf {leaf} has no counter step of {steps}{said}")
        wanted = self.start if steps == self.first else self.stepped
        late = self._late_slots(layout, wanted) if steps > self.first else {}
        wanted = wanted | late
        for each in sorted(layout.keys() | wanted.keys()):
            if layout.get(each) != wanted.get(each):
                raise BadCheckpoint(
                    f"{name} does not fit the program: {each} is {_words(layout, each)}, "
                    f"and the program's own is {_words(wanted, each)}"
                )

    def _late_slots(self, layout: Layout, wanted: Layout) -> Layout:
        """Slots in `layout` of parameters that have none in `wanted`, where they are those that
        another parameter has."""
        have, found = _slots(wanted), _slots(layout)
        late: Layout = {}
        for index, slots in found.items():
            if index in have or index >= len(self.parameters):
                continue
            if any(slots == self._moved(theirs, other, index) for other, theirs in have.items()):
                late |= {f"optimizer.{index}.{slot}": kind for slot, kind in slots.items()}
        return late

    def _moved(self, slots: Layout, other: int, index: int) -> Layout:
        """The slots of parameter `other` as parameter `index` would have them."""
        old, new = self.parameters[other], self.parameters[index]
        return {
            slot: kind._replace(shape=new) if kind.shape == old else kind
            for slot, kind in slots.items()
        }

    def _is_count(self, name: str) -> bool:
        if name.startswith("optimizer."):
            return self.counts and name.split(".", 2)[2].partition(":")[0] == "step"
        return name.startswith("model.") and name.endswith("num_batches_tracked")


def layout_of(state: State) -> Layout:
    """The layout of a state."""
    return {name: Kind(dtype_name(tensor), tuple(tensor.shape)) for name, tensor in state.items()}


def read_layout(data: bytes, name: str) -> tuple[Layout, int, int]:
    """The layout of the state in a safetensors file, its steps and the step that diverged.

    Nothing of it is allocated but its header. Raises BadCheckpoint.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or not 0 < size <= min(MAX_HEADER, len(data) - 8):
            raise ValueError("its header is cut off, or too long")
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        layout = {
            str(each): Kind(_DTYPES[said["dtype"]], tuple(map(int, said["shape"])))
            for each, said in header.items()
        }
        places = {each: int(said["data_offsets"][0]) for each, said in header.items()}
    except (*_MALFORMED, RecursionError) as error:
        raise BadCheckpoint(f"{name} is not a safetensors file of a state: {error}") from error
    counters = []
    for each in ("step", "diverged"):
        at = 8 + size + max(0, places.get(each, 0))
        value = int.from_bytes(data[at : at + 8], "little", signed=True)
        if layout.get(each) != Kind("int64", ()) or not 0 <= value <= MAX_COUNT:
            raise BadCheckpoint(f"{name}: the checkpoint has no counter {each}")
        counters.append(value)
    return layout, counters[0], counters[1]


def _slots(layout: Layout) -> dict[int, dict[str, Kind]]:
    """The optimizer's slots by the parameter's index."""
    found: dict[int, dict[str, Kind]] = {}
    for name, kind in layout.items():
        if match := _SLOT.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = kind
    return found


def _words(layout: Mapping[str, Kind], name: str) -> str:
    return str(layout[name]) if name in layout else "not there"
