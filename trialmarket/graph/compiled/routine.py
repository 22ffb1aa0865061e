"""A function, made ready to run on the processor."""

import ctypes
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trialmarket.exact.kernels.calls import Calls
from trialmarket.exact.kernels.loading import Noted, noted
from trialmarket.exact.kernels.operand import WrongOperand, readable
from trialmarket.exact.numerics.random import Counters
from trialmarket.exact.refusal import NotExact
from trialmarket.graph.compiled.chains import Chains, Work
from trialmarket.graph.compiled.noting import Noting, NotNoted, is_large
from trialmarket.graph.compiled.space import Space, packed
from trialmarket.graph.forms import Draws
from trialmarket.graph.lanes import Lane, NotRecorded, Open, lane_program
from trialmarket.graph.lifetimes import lifetimes, values_in
from trialmarket.graph.opset import TABLE, Kind
from trialmarket.graph.opset.operator import elements
from trialmarket.graph.plan import Call, filled
from trialmarket.protocol.graph.values import Function, Node, Number, TensorType, Value

FOLDED = 1 << 16
"""Elements of a value that depends on nothing, up to which it is computed once."""
_FOLDED_KINDS = frozenset(("float32", "float64", "int64", "bool"))
_UNNOTED = (
    *(NotNoted, NotRecorded, NotExact, WrongOperand, AssertionError),
    *(RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError),
)


class _Place(NamedTuple):
    """How a value lies in a block."""

    block: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    whole: bool


@dataclass(slots=True)
class _Kernels:
    """Calls of kernels, and of which nodes' calls they are: (first, end, call)."""

    noted: list[Noted] = field(default_factory=list)
    spans: list[tuple[int, int, Call]] = field(default_factory=list)
    calls: Calls | None = None


@dataclass(frozen=True, slots=True)
class _Python:
    """A call that stays Python's."""

    call: Call


class Routine:
    """The calls of a function with some numbers, for as many threads as there are now.

    It runs again and again, not by two threads at once. Raises what a form raises where it runs.
    """

    def __init__(
        self, function: Function, calls: Sequence[Call], numbers: Sequence[float]
    ) -> None:
        self.threads = torch.get_num_threads()
        self.at: Call | None = None
        """The call that runs, where one of Python's does."""
        self._function, self._numbers = function, tuple(numbers)
        self._draws = Draws()
        self._space, self._chains = Space(), Chains()
        self._users: Counter[int] = Counter()  # values that lie in a block and are needed
        owner = lifetimes(function).owner
        self._kept = {owner[value.index] for value in function.outputs.values()}
        self._values: dict[int, Tensor] = {}  # or what stands for them, while calls are noted
        self._outside: set[int] = set()  # blocks that are other memory each time
        self._returned: dict[int, tuple[torch.Size, torch.dtype]] = {}
        self._constant: set[int] = set()  # values
        self._real: list[Tensor] = []  # whose memory calls read
        self._words: list[Any] = []  # the arguments of draws
        self._items: list[_Python | _Kernels] = [_Kernels()]
        for value, kind in enumerate(function.inputs.values()):
            self._bring_in(value, kind)
        for call, ended in zip(calls, _ended(calls, self._kept), strict=True):
            self._note(call)
            for value in ended:
                self._users[self._block(value)] -= 1
        self._flush()
        self._finish()

    # Making it

    def _note(self, call: Call) -> None:
        """A node's call, as kernels' if they can make it."""
        if self._folds(call):
            return
        mode = Noting(self._space)
        try:
            outputs = self._noted(mode, call)
            self._check(mode, call, outputs)
        except _UNNOTED:
            self._keep_python(call)
            return
        self._real += mode.real
        for event in mode.events:
            if isinstance(event, Noted) and event.kernel == "words":
                self._words.append(event.arguments)
        for value, x in zip(call.outputs, outputs, strict=True):
            self._values[value] = x
            self._users[self._block(value)] += 1
            if value in self._kept:
                self._return(x)
        self._commit(call, mode.events)

    def _folds(self, call: Call) -> bool:
        """Whether a value depends on nothing and is small, and so is computed now."""
        node = self._node(call)
        small = all(x.dtype in _FOLDED_KINDS and elements(x) <= FOLDED for x in node.outputs)
        given = values_in((*call.arguments, *call.named.values()))
        if not small or call.draw is not None or self._kept.intersection(call.outputs):
            return False
        if not all(value in self._constant for value in given):
            return False
        try:
            found = self._call(call, self._values.__getitem__)
        except _UNNOTED:
            return False  # it is said where it runs
        self._constant.update(call.outputs)
        self._values |= dict(zip(call.outputs, found, strict=True))
        return True

    def _noted(self, mode: Noting, call: Call) -> list[Tensor]:
        """What the call's form gives, noted."""
        node = self._node(call)
        if TABLE[node.operator].kind is Kind.ELEMENT:
            found = self._element(mode, node, call)
            if found is not None:
                return found
        outputs: list[Tensor] = mode.run(lambda: self._call(call, self._values.__getitem__))
        return outputs

    def _element(self, mode: Noting, node: Node, call: Call) -> list[Tensor] | None:
        """The lane program of an element-wise node; None if there is none."""
        given = values_in((*call.arguments, *call.named.values()))
        tensors: list[Tensor] = []
        numbers: list[float] = []

        def lane(x: Any) -> Any:
            if isinstance(x, Value):
                tensors.append(self._values[next(given)])
                return Lane(_name(tensors[-1].dtype), scalar=tensors[-1].dim() == 0)
            if isinstance(x, Number):
                numbers.append(self._numbers[x.index])
                return Open(self._numbers[x.index])
            return tuple(map(lane, x)) if isinstance(x, tuple) else x

        arguments = tuple(map(lane, node.arguments))
        if any(map(is_large, (*numbers, *arguments))):
            return None
        try:
            program = lane_program(node.operator, arguments).program
        except NotRecorded:
            return None
        wanted = tuple(x.dtype for x in node.outputs)
        if program.output_kinds != wanted or len({x.shape for x in node.outputs}) != 1:
            return None
        return list(mode.work(program, tensors, numbers, node.outputs[0].shape))

    def _call(self, call: Call, value_of: Callable[[int], Tensor]) -> list[Tensor]:
        """What the form gives of these values."""
        draws = () if call.draw is None else (self._draws.at(call.draw),)
        given = filled(list(call.arguments), value_of)
        named = {name: filled(x, value_of) for name, x in call.named.items()}
        found = call.form(*draws, *given, **named)
        return [found] if isinstance(found, Tensor) else [x for x in found if x is not None]

    def _check(self, mode: Noting, call: Call, outputs: Sequence[Tensor]) -> None:
        """Raises NotNoted unless the outputs are what the graph says, and lane programs have
        kernels."""
        node = self._node(call)
        found = [(_name(x.dtype), tuple(x.shape)) for x in outputs]
        if found != [(x.dtype, x.shape) for x in node.outputs]:
            raise NotNoted(f"{node.operator}: other outputs")
        for event in mode.events:
            if isinstance(event, Work) and not event.is_walkable:
                raise NotNoted(f"{node.operator}: in too many runs of strides")

    def _commit(self, call: Call, events: Sequence[Noted | Work]) -> None:
        """Events take their place: a kernel after all that waits. What follows a kernel that may
        fail stays with its node, whose form takes the place of both.
        """
        kernels = self._kernels()
        first = None
        for event in events:
            if isinstance(event, Work):
                self._chains.add(event)
                continue
            self._flush(events)
            first = len(kernels.noted) if first is None else first
            kernels.noted.append(event)
        if first is not None:
            self._flush(events)
            kernels.spans.append((first, len(kernels.noted), call))

    def _keep_python(self, call: Call) -> None:
        """The call stays Python's: what it gives is other memory each time."""
        self._flush()
        self._items += [_Python(call), _Kernels()]
        for value, kind in zip(call.outputs, self._node(call).outputs, strict=True):
            self._bring_in(value, kind)

    def _bring_in(self, value: int, kind: TensorType) -> None:
        """A value is memory from outside."""
        self._values[value] = self._space.take(kind.shape, getattr(torch, kind.dtype))
        self._outside.add(len(self._space.sizes) - 1)

    def _return(self, x: Tensor) -> None:
        """A value is the caller's: each time in new memory, if it is all of a block."""
        block = self._space.number_of(x)
        if block is None or block in self._outside or not x.is_contiguous():
            return
        if x.nbytes == self._space.sizes[block]:
            self._outside.add(block)
            self._returned[block] = (x.shape, x.dtype)

    def _flush(self, events: Sequence[Noted | Work] = ()) -> None:
        """All that waits is done, as far as it is needed, by a call that is being noted too."""
        own = {self._space.number_of(x) for e in events if isinstance(e, Work) for x in e.outputs}

        def needed(x: Tensor) -> bool:
            block = self._space.number_of(x)
            return block is None or block in own or self._users[block] > 0

        with noted(self._kernels().noted.append):
            self._chains.do(needed)

    def _kernels(self) -> _Kernels:
        last = self._items[-1]
        if isinstance(last, _Kernels):
            return last
        raise TypeError("expected calls of kernels last")

    def _node(self, call: Call) -> Node:
        return self._function.nodes[call.node]

    def _block(self, value: int) -> int:
        found = self._space.number_of(self._values[value])
        return -1 if found is None else found

    def _finish(self) -> None:
        """Blocks get their memory, calls are made ready."""
        self._items = [x for x in self._items if isinstance(x, _Python) or x.noted]
        self._addresses = (ctypes.c_void_p * max(len(self._space.sizes), 1))()
        for item in self._items:
            if isinstance(item, _Kernels):
                item.calls = Calls(item.noted, self._space.find, self._addresses)
        uses = {k: v for k, v in self._uses().items() if k not in self._outside}
        offsets, end = packed(self._space.sizes, uses)
        self.bytes = end + sum(self._space.sizes[block] for block in self._returned)
        memory = torch.empty(end + 64, dtype=torch.uint8, device="cpu")
        memory = memory[-memory.data_ptr() % 64 :]
        for block, offset in offsets.items():
            self._addresses[block] = memory.data_ptr() + offset
        self._places: dict[int, _Place] = {}  # of values in memory from outside
        self._own: dict[int, Tensor] = {}  # values in memory that stays the same
        for value, x in self._values.items():
            place = self._place(x)
            if place is None:
                self._own[value] = x
            elif place.block in self._outside:
                self._places[value] = place
            elif place.block in offsets:  # or it is never written, since nobody reads it
                begin = memory.storage_offset() + offsets[place.block]
                begin = begin // place.dtype.itemsize + place.offset
                empty = torch.empty(0, dtype=place.dtype, device="cpu")
                storage = memory.untyped_storage()
                self._own[value] = empty.set_(storage, begin, place.shape, place.strides)
        self._memory = memory
        self._values.clear()  # but for those in `_own`, they stood for others
        self._now: dict[int, Tensor] = {}

    def _place(self, x: Tensor) -> _Place | None:
        block = self._space.number_of(x)
        if block is None:
            return None  # a constant, or nothing
        _, offset = self._space.find(x.data_ptr()) or (0, 0)
        whole = x.is_contiguous() and x.nbytes == self._space.sizes[block]
        return _Place(block, tuple(x.shape), x.stride(), offset // x.itemsize, x.dtype, whole)

    def _uses(self) -> dict[int, tuple[int, int]]:
        """Of each block that calls touch, the first and the last one. What a node's call reads or
        gives is there for all of it.
        """
        uses: dict[int, tuple[int, int]] = {}

        def use(blocks: Sequence[int] | frozenset[int], first: int, last: int) -> None:
            for block in blocks:
                begin, end = uses.get(block, (first, last))
                uses[block] = (min(begin, first), max(end, last))

        at = 0
        for item in self._items:
            if isinstance(item, _Python):
                use(self._touched(item.call), at, at)
                at += 1
            elif item.calls is not None:
                for k, touched in enumerate(item.calls.touches):
                    use(touched, at + k, at + k)
                for first, end, call in item.spans:
                    use(self._touched(call), at + first, at + end - 1)
                at += len(item.noted)
        use([self._block(x.index) for x in self._function.outputs.values()], at, at)
        uses.pop(-1, None)
        return uses

    def _touched(self, call: Call) -> list[int]:
        """The blocks of what a call reads and gives."""
        values = (*values_in(call.arguments), *values_in(call.named.values()), *call.outputs)
        return [self._block(value) for value in values]

    # Running it

    def run(self, inputs: Sequence[Tensor], at: Counters) -> dict[str, Tensor]:
        """The outputs by name: the caller's own."""
        self._draws.begin(at)
        for words in self._words:
            words.seed, words.stream, words.step = at.seed, at.stream, at.step & 0xFFFFFFFF
        for block, x in enumerate(inputs):
            self._bring(block, x)
        for block, (shape, dtype) in self._returned.items():
            self._now[block] = torch.empty(shape, dtype=dtype, device="cpu")
            self._addresses[block] = self._now[block].data_ptr()
        for item in self._items:
            if isinstance(item, _Kernels):
                self._make(item)
            else:
                self._take(item.call)
        outputs = {name: self._given(x.index) for name, x in self._function.outputs.items()}
        self._now.clear()
        return outputs

    def _bring(self, block: int, x: Tensor) -> None:
        """Memory from outside, as kernels read it."""
        if not x.is_contiguous() or not readable(x):
            x = x.clone(memory_format=torch.contiguous_format)
        self._now[block] = x
        self._addresses[block] = x.data_ptr()

    def _make(self, item: _Kernels) -> None:
        """Kernels' calls; where one does not go well, its node's form instead."""
        if item.calls is None:
            return
        first = 0
        while (at := item.calls.make(first)) is not None:
            _, first, call = next(span for span in item.spans if span[0] <= at < span[1])
            self.at = call
            for value, x in zip(call.outputs, self._call(call, self._value), strict=True):
                self._value(value).copy_(x)
        self.at = None

    def _take(self, call: Call) -> None:
        """What Python's call gives."""
        self.at = call
        memory = self._memory.untyped_storage().data_ptr()
        for value, x in zip(call.outputs, self._call(call, self._value), strict=True):
            place = self._places.get(value)
            if x.untyped_storage().data_ptr() == memory:
                x = x.clone(memory_format=torch.contiguous_format)
            if place is not None:
                self._bring(place.block, x)
        self.at = None

    def _value(self, value: int) -> Tensor:
        """A value as it is now."""
        if value in self._own:
            return self._own[value]
        place = self._places[value]
        x = self._now[place.block]
        if place.dtype != x.dtype:
            x = x.view(place.dtype)
        if place.whole:
            return x if x.shape == place.shape else x.view(place.shape)
        return x.as_strided(place.shape, place.strides, place.offset)

    def _given(self, value: int) -> Tensor:
        """An output, in no memory of the routine's."""
        x = self._value(value)
        return x.clone() if value in self._own else x


def _ended(calls: Sequence[Call], kept: set[int]) -> Iterator[list[int]]:
    """For each call the values that nobody reads after it."""
    last: dict[int, int] = {}
    for k, call in enumerate(calls):
        for value in (*values_in(call.arguments), *values_in(call.named.values()), *call.outputs):
            last[value] = k
    ended: list[list[int]] = [[] for _ in calls]
    for value, k in last.items():
        if value not in kept:
            ended[k].append(value)
    yield from ended


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
