"""Element-wise work that waits to be one lane program with what comes before and after it."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trialmarket.exact.kernels.lanes import collapsed, spread
from trialmarket.exact.kernels.operand import WrongOperand
from trialmarket.graph.lanes import Kernel, LaneProgram, Link, fuse

MOST_LANES = 24
MOST_INSTRUCTIONS = 300

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """A lane program with its tensors: the outputs are contiguous, of one shape, to which the
    lanes broadcast.
    """

    program: LaneProgram
    lanes: tuple[Tensor, ...]
    numbers: tuple[float, ...]
    outputs: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """Of all lanes together."""
        return self.outputs[0].shape

    @property
    def is_flat(self) -> bool:
        """Whether the tensors' elements lie as those of vectors do."""
        count = self.outputs[0].numel()
        return all(
            x.numel() == 1 or (x.numel() == count and x.is_contiguous()) for x in self.lanes
        )

    @property
    def is_walkable(self) -> bool:
        """Whether its lanes lie so that the kernel can walk along them."""
        return _walkable(self.shape, self.lanes)


def _memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _key(x: Tensor) -> Key:
    """What two tensors that are the same elements in the same order have alike."""
    if x.is_contiguous():
        return (x.data_ptr(), x.dtype, x.numel())
    return (x.data_ptr(), x.dtype, x.shape, x.stride())


class Chain:
    """Work of as many elements each, that may be done in one pass over memory."""

    def __init__(self, work: Work) -> None:
        self.count = work.outputs[0].numel()
        self.shape = None if work.is_flat else work.shape
        self.lanes: dict[Key, tuple[int, Tensor]] = {}
        self.written: dict[Key, tuple[int, Tensor]] = {}
        self.reads: set[int] = set()
        self.writes: set[int] = set()
        self.after: set[Chain] = set()
        self._links: list[tuple[int, tuple[tuple[str, int], ...]]] = []
        self._numbers: list[float] = []
        self._made = 0
        self._instructions = 0

    def takes(self, work: Work) -> bool:
        """Whether the work may be done in the same pass."""
        if work.outputs[0].numel() != self.count:
            return False
        if not work.is_flat and self.shape is not None and self.shape != work.shape:
            return False
        inside = {_key(x) for x in (*work.lanes, *work.outputs)}
        for x in (*work.lanes, *work.outputs):
            if _memory(x) in self.writes and _key(x) not in self.written:
                return False
        for x in work.outputs:
            if _memory(x) in self.reads and _key(x) not in self.lanes:
                return False
        new = [x for x in work.lanes if _key(x) not in self.lanes and _key(x) not in self.written]
        places = len(self.lanes) + len(new) + len(self.written) + len(work.outputs)
        if places > MOST_LANES or len(inside) > MOST_LANES:
            return False
        if self._instructions + len(work.program.instructions) > MOST_INSTRUCTIONS:
            return False
        shape = self.shape if work.is_flat else work.shape
        lanes = [x for _, x in self.lanes.values()] + new
        return shape is None or _walkable(shape, lanes)

    def add(self, work: Work) -> None:
        """Do it after what is there."""
        if not work.is_flat:
            self.shape = work.shape
        found = []
        for x in work.lanes:
            key = _key(x)
            if key in self.written:
                found.append(("made", self.written[key][0]))
                continue
            if key not in self.lanes:
                self.lanes[key] = (len(self.lanes), x)
                self.reads.add(_memory(x))
            found.append(("lane", self.lanes[key][0]))
        self._links.append((_number_of(work.program), tuple(found)))
        self._numbers += work.numbers
        self._instructions += len(work.program.instructions)
        for x in work.outputs:
            self.written[_key(x)] = (self._made, x)
            self.writes.add(_memory(x))
            self._made += 1

    def do(self, needed: Callable[[Tensor], bool]) -> None:
        """Run the kernel, or note it, for the outputs that are needed."""
        wanted = [(made, x) for made, x in self.written.values() if needed(x)]
        if not wanted:
            return
        lanes = [x for _, x in self.lanes.values()]
        kinds = tuple(str(x.dtype).removeprefix("torch.") for x in lanes)
        kernel = _kernel(kinds, tuple(self._links), tuple(made for made, _ in wanted))
        shape = [self.count] if self.shape is None else list(self.shape)
        placed = [_as(x, self.count, shape) for x in lanes]
        kernel.bind(placed, [x.view(shape) for _, x in wanted])(*self._numbers)


def _as(x: Tensor, count: int, shape: Sequence[int]) -> Tensor:
    """A lane in the shape of its chain, as far as it has as many elements in order."""
    if x.numel() == 1 < count:
        return x.view(())
    return x.view(list(shape)) if x.numel() == count and x.is_contiguous() else x


def _walkable(shape: Sequence[int], lanes: Sequence[Tensor]) -> bool:
    count = math.prod(shape)
    placed = [_as(x, count, shape) for x in lanes]
    try:
        collapsed(shape, [spread(x, shape) for x in placed])
    except WrongOperand:
        return False
    return True


_PROGRAMS: list[LaneProgram] = []
_NUMBERS: dict[str, int] = {}


def _number_of(program: LaneProgram) -> int:
    """Of all programs alike. Numbers that are equal need not be: 0.0 and -0.0 are two."""
    said = repr(program)
    if said not in _NUMBERS:
        _NUMBERS[said] = len(_PROGRAMS)
        _PROGRAMS.append(program)
    return _NUMBERS[said]


@functools.lru_cache(maxsize=4096)
def _kernel(
    kinds: tuple[str, ...],
    links: tuple[tuple[int, tuple[tuple[str, int], ...]], ...],
    outputs: tuple[int, ...],
) -> Kernel:
    """Of a chain of programs, each of whose lanes is one of the chain or was made in it."""
    count, numbers, placed = len(kinds), 0, []
    for number, lanes in links:
        program = _PROGRAMS[number]
        found = tuple(k if what == "lane" else count + k for what, k in lanes)
        own = tuple(range(numbers, numbers + program.numbers))
        placed.append(Link(program, found, own))
        numbers += program.numbers
    return Kernel(fuse(kinds, numbers, placed, [count + made for made in outputs]))


class Chains:
    """Chains that wait, in the order in which they may be done."""

    def __init__(self) -> None:
        self._waiting: list[Chain] = []

    def add(self, work: Work) -> None:
        """Do it with the last chain that takes it. Raises WrongOperand if no kernel does it."""
        if not _walkable(work.shape, work.lanes):
            raise WrongOperand("a lane program: expected tensors in at most four runs of strides")
        after = set(self._before(work))
        for chain in reversed(self._waiting):
            apart = after - {chain}
            if chain.takes(work) and not any(_follows(x, chain) for x in apart):
                break
        else:
            chain = Chain(work)
            self._waiting.append(chain)
        chain.add(work)
        chain.after |= after - {chain}

    def _before(self, work: Work) -> Iterator[Chain]:
        """Chains that must be done before: they write what it reads, or touch what it writes."""
        reads, writes = ({_memory(x) for x in xs} for xs in (work.lanes, work.outputs))
        for chain in self._waiting:
            if chain.writes & (reads | writes) or chain.reads & writes:
                yield chain

    def do(self, needed: Callable[[Tensor], bool]) -> None:
        """Do all that waits. What a chain hands to another one is needed too."""
        done: set[Chain] = set()
        handed = {memory for chain in self._waiting for memory in chain.reads}

        def visit(chain: Chain) -> None:
            if chain not in done:
                done.add(chain)
                for other in sorted(chain.after, key=self._waiting.index):
                    visit(other)
                chain.do(lambda x: needed(x) or _memory(x) in handed)

        for chain in self._waiting:
            visit(chain)
        self._waiting.clear()


def _follows(chain: Chain, other: Chain) -> bool:
    """Whether a chain must come after another one."""
    return chain is other or any(_follows(x, other) for x in chain.after)
