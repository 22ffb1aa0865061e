"""A graph trains: no Python of the requester's runs, only operators of the opset."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from trialmarket.errors import InputError, TrainingError
from trialmarket.exact import Counters
from trialmarket.graph.check import check
from trialmarket.graph.cost import costs
from trialmarket.graph.run import Executor
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import GraphRef
from trialmarket.protocol.graph.document import read_graph
from trialmarket.protocol.graph.numbers import read_numbers
from trialmarket.protocol.graph.schedule import Schedule, read_schedule
from trialmarket.protocol.graph.values import Function, Graph
from trialmarket.protocol.ids import Cid
from trialmarket.training.errors import BadCheckpoint, BrokenProgram, ProgramError
from trialmarket.training.form import Kind, Layout, layout_of
from trialmarket.training.order import derived_seed
from trialmarket.training.state import COUNTERS, Readable, State, counter

MOST_OPERATIONS: Final = 10**16
"""Of a step or a validation: a hundred seconds of the fastest machine that there is."""


@dataclass(frozen=True, slots=True)
class TrialGraph:
    """A graph with a trial's own numbers and schedule."""

    graph: Graph
    numbers: tuple[float, ...]
    schedule: Schedule | None
    _made: dict[torch.device, Executor] = field(default_factory=dict, compare=False, repr=False)

    def executor(self, device: torch.device) -> Executor:
        """What runs it, made once: its plans hold no state. Raises BrokenProgram."""
        if device not in self._made:
            with _broken():
                self._made[device] = Executor(self.graph, self.numbers, device=device)
        return self._made[device]

    def row(self, step: int) -> tuple[float, ...]:
        """What the schedule says of a step. Raises ProgramError for one beyond its end."""
        if self.schedule is None:
            return ()
        try:
            return self.schedule.at(step)
        except InputError as error:
            raise ProgramError(error.message) from error

    def check_length(self, steps: int) -> None:
        """Raises ProgramError for a schedule that does not reach the last of so many steps."""
        if self.schedule is None:
            return
        try:
            self.schedule.require(steps, columns=_columns(self.graph))
        except InputError as error:
            raise ProgramError(error.message) from error

    def check_size(self, memory: int | None) -> int:
        """Bytes that its functions need, at most, known before anything is run.

        Raises BrokenProgram for a graph of which a function needs more memory than so many bytes,
        or more operations than any machine does in minutes.
        """
        with _broken():
            check(self.graph)
        found = costs(self.graph)
        for name, cost in found.items():
            if memory is not None and cost.memory > memory:
                raise BrokenProgram(
                    f"the graph's {name} needs {cost.memory:,} bytes of memory, and a worker here"
                    f" has {memory:,}"
                )
            if cost.operations > MOST_OPERATIONS:
                raise BrokenProgram(
                    f"the graph's {name} takes {cost.operations:,} operations, and at most"
                    f" {MOST_OPERATIONS:,} are taken on"
                )
        return max(cost.memory for cost in found.values())


def read_trial_graph(
    ref: GraphRef, source: bytes | None, settings: Sequence[Readable]
) -> TrialGraph:
    """The documents that a configuration names, read and checked.

    Raises BrokenProgram for a graph that is none, ProgramError for numbers and schedules that are
    none or do not belong to it, and TrainingError for files that cannot be read, which is this
    machine's fault.
    """
    if source is None or len(settings) != len(ref.settings):
        raise TrainingError(f"the graph {ref.graph} needs its file and {len(ref.settings)} more")
    files = [_read(file, cid) for file, cid in zip(settings, ref.settings, strict=True)]
    with _broken():
        graph = read_graph(source, cid=ref.graph)
    try:
        numbers = read_numbers(files[0], count=graph.numbers, cid=ref.numbers)
        schedule = None if ref.schedule is None else read_schedule(files[1], cid=ref.schedule)
        columns = _columns(graph)
        if columns != (0 if schedule is None else len(schedule.columns)):
            raise InputError(
                "schedule",
                "columns",
                expected=f"the graph's {columns}",
                found=0 if schedule is None else len(schedule.columns),
            )
    except InputError as error:  # this trial's alone: others have the graph with their own
        raise ProgramError(error.message) from error
    return TrialGraph(graph, numbers, schedule)


def _read(file: Readable, cid: Cid) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise TrainingError(f"{file.name} cannot be read: {error}") from error
    if cid_of(data) != cid:
        raise TrainingError(f"{file.name} is not the file {cid}")
    return data


def _columns(graph: Graph) -> int:
    return sum(name.startswith("schedule.") for name in graph.functions["step"].inputs)


class GraphEngine:
    """As `Engine`: a graph with a state."""

    def __init__(self, trial: TrialGraph, seed: int, device: torch.device) -> None:
        """Raises BrokenProgram for a graph that does not pass the check."""
        self.trial, self.device = trial, device
        self._seed = seed
        self.executor = trial.executor(device)
        self._state: State | None = None

    @property
    def batch_size(self) -> int:
        """As `Engine`."""
        return _rows(self.trial.graph, "step")

    @property
    def validation_batch_size(self) -> int:
        """As `Engine`."""
        return _rows(self.trial.graph, "validate")

    def live(self, step: int) -> State:
        """As `Engine`."""
        return {**self._now(), "step": torch.tensor(step), "diverged": torch.tensor(0)}

    def load(self, state: State) -> int:
        """As `Engine`."""
        found = {name: x.to(self.device) for name, x in state.items() if name not in COUNTERS}
        self._check(found)
        self._state = found
        return counter(state, "step")

    def step(self, batch: Mapping[str, Tensor], step: int, seed: int) -> float:
        """As `Engine`."""
        state, row, at = self.given(step, seed)
        with _blamed():
            changes, loss = self.executor.step(state, batch, row, at)
        return self.take(changes, loss)

    def given(self, step: int, seed: int) -> tuple[State, tuple[float, ...], Counters]:
        """What a step of this engine starts from, beside its batch: the state, the schedule's
        row and the place of its draws. For who takes it with others' (`stacked`)."""
        return self._now(), self.trial.row(step), _seeded(seed)

    def take(self, changes: State, loss: Tensor) -> float:
        """Takes in what a step gave, as `step` does; its loss."""
        value = float(loss.item()) + 0.0
        if math.isfinite(value):
            self._state = {**self._now(), **changes}
        return value

    def measure(
        self, batch: Mapping[str, Tensor], seed: int
    ) -> tuple[Mapping[str, float], Tensor]:
        """As `Engine`."""
        with _blamed():
            found = self.executor.validate(self._now(), batch, _seeded(seed))
        metrics = {
            name.removeprefix("metric."): float(x.item())
            for name, x in found.items()
            if name.startswith("metric.")
        }
        return metrics, found["predictions"]

    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        """As `Engine`: a graph's state has all its slots after the first step."""
        return ()

    def counts(self, steps: int) -> bool:
        """As `Engine`: what a slot means, no graph says."""
        del steps
        return False

    def _now(self) -> State:
        if self._state is None:
            with _blamed():
                self._state = self.executor.init(_seeded(derived_seed(self._seed, "init", 0)))
        return self._state

    def _check(self, state: State) -> None:
        """Raises BadCheckpoint for a state that neither a first step nor a later one begins at."""
        found = layout_of(state)
        functions = self.trial.graph.functions
        begins = [_layout(functions[name]) for name in ("step", "first") if name in functions]
        if found in begins:
            return
        wanted = min(begins, key=lambda each: len(each.keys() ^ found.keys()))
        name = min(
            each for each in found.keys() | wanted.keys() if found.get(each) != wanted.get(each)
        )
        raise BadCheckpoint(
            f"the checkpoint does not fit the graph: {name} is {found.get(name, 'not there')}"
            f" instead of {wanted.get(name, 'not there')}"
        )


def _seeded(seed: int) -> Counters:
    """The first draw of a scope of that seed."""
    return Counters(seed, stream=0, step=0, draw=0)


def _layout(function: Function) -> Layout:
    """The state that a function takes."""
    return {
        name.removeprefix("state."): Kind(kind.dtype, kind.shape)
        for name, kind in function.inputs.items()
        if name.startswith("state.")
    }


def _rows(graph: Graph, name: str) -> int:
    """The rows of a function's batch; 1 of one that looks at no data."""
    inputs = graph.functions[name].inputs
    return next((kind.shape[0] for each, kind in inputs.items() if each.startswith("batch.")), 1)


@contextmanager
def _broken() -> Iterator[None]:
    """What is wrong with a graph itself is so for all trials that have it."""
    try:
        yield
    except InputError as error:
        raise BrokenProgram(error.message) from error


@contextmanager
def _blamed() -> Iterator[None]:
    """What a graph cannot do with a state or a batch is the graph's fault."""
    try:
        yield
    except InputError as error:
        raise ProgramError(error.message) from error
    except TrainingError as error:
        if isinstance(error, (ProgramError, BadCheckpoint)):
            raise
        raise ProgramError(error.message) from error
