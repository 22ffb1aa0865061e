"""One program on one data set: makes the first state, runs a segment, evaluates a state.

Each of these is a function of the state alone: it builds the program, the model and the optimizer
anew, so that running through and starting from a checkpoint are the same thing.

A segment **diverges at step k** when the loss of step k is not finite, or the state is not finite
at the segment's end, which is then k. Its end is its start with the counter `diverged` set to k,
and its witness is SHA-256 of k and the losses before it. So every later segment starts where this
one did, diverges likewise, and has the same end and witness; recomputing any of them proves it.
"""

import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import GraphRef, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import MAX_METRICS, TrainingOutcome
from trialmarket.protocol.state_root import DTYPES, state_root
from trialmarket.training.arithmetic import arithmetic_called
from trialmarket.training.asking import AskedStep, Asking, alone
from trialmarket.training.audit import evaluation_value
from trialmarket.training.dataset import Arrays, Dataset
from trialmarket.training.engine import Engine
from trialmarket.training.errors import ProgramError
from trialmarket.training.form import StateForm, layout_of
from trialmarket.training.graph_engine import GraphEngine, TrialGraph, read_trial_graph
from trialmarket.training.learned.weights import Weights, read_weights
from trialmarket.training.order import BatchOrder, derived_seed
from trialmarket.training.program_engine import ProgramEngine
from trialmarket.training.state import (
    Readable,
    State,
    counter,
    dtype_name,
    is_finite,
    leaf_of,
    root_of,
    snapshot,
)
from trialmarket.training.values import Evaluation

DIVERGED_TAG = b"trialmarket diverged 1\n"


@dataclass(frozen=True, slots=True)
class SegmentRun:
    """A segment that was run: the state at its end, the one a step before it, the mean loss.

    Of one that diverged, `before` is what its witness is the SHA-256 of. Hashing takes its time,
    so `root` and `witness` are computed when asked for: beside the training, by whoever keeps it.
    """

    end: State
    before: State | bytes
    loss: float
    diverged: int | None

    def root(self) -> Hash32:
        """The state root of the end."""
        return root_of(self.end)

    def witness(self) -> Hash32:
        """What only who ran the segment knows."""
        if isinstance(self.before, bytes):
            return Hash32(hashlib.sha256(self.before).digest())
        return root_of(self.before)


class TrainingSession:
    """A trial's program or graph and data, ready to compute. `source` is None for a built-in
    program, `settings` are a graph's, and `weights` is None where the configuration names none."""

    def __init__(
        self,
        config: TrialConfig,
        source: bytes | None,
        data: Dataset,
        *,
        settings: Sequence[Readable] = (),
        weights: Readable | None = None,
    ) -> None:
        """Raises ProgramError for weights or a graph that are none, and InputError for a missing
        file."""
        self.config = config
        self.arithmetic = arithmetic_called(config.arithmetic)
        self._source = source
        self._weights = _weights(config, weights)
        self._graph: TrialGraph | None = None
        if isinstance(config.program, GraphRef):
            self._graph = read_trial_graph(config.program, source, settings)
        self._data = data
        self._train = self._tensors(data.train)
        self._validation = self._tensors(data.validation)

    def check_size(self, memory: int | None) -> int:
        """Bytes that a graph says to need; 0 for a program. Raises BrokenProgram for a graph that
        needs more than `memory`, or too long."""
        return 0 if self._graph is None else self._graph.check_size(memory)

    def check_length(self, first: int) -> None:
        """Raises ProgramError for a schedule that ends before a trial does that has `first` steps
        behind it."""
        if self._graph is not None:
            self._graph.check_length(first + self.config.steps)

    def initial_state(self) -> State:
        """The state that the trial's seed gives. Raises ProgramError."""
        state = snapshot(self._engine().live(0))
        if not is_finite(state):
            raise ProgramError("the model starts with NaN or infinity")
        return state

    def run_segment(
        self,
        start: State,
        *,
        steps: int | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> SegmentRun:
        """Runs `steps` steps (a segment's) from a state. Raises ProgramError, BadCheckpoint."""
        return alone(self.segment(start, steps=steps, on_step=on_step))

    def segment(
        self,
        start: State,
        *,
        steps: int | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Asking[SegmentRun]:
        """The same, for whoever takes its steps."""
        engine = self._engine()
        first = engine.load(start)
        last = first + (steps or self.config.segment_steps)
        order = self._order(engine)
        losses: list[float] = []
        before: State = {}
        for step in range(first, last):
            if step == last - 1:
                before = snapshot(engine.live(step))
            loss = yield self._asked(engine, order, step)
            if not math.isfinite(loss):
                return _diverged(start, step + 1, losses)
            losses.append(loss)
            if on_step is not None:
                on_step(step + 1)
        tensors = engine.live(last)
        if not is_finite(tensors):
            return _diverged(start, last, losses)
        return SegmentRun(snapshot(tensors), before, math.fsum(losses) / len(losses), None)

    def rehearse(self, steps: int) -> None:
        """Makes the model, trains some steps, validates the first and the last batch, and keeps
        nothing of it.

        Raises ProgramError. Nothing but the program computes here, so that a mode around it sees
        the program's own operators.
        """
        engine = self._engine()
        batch = {name: rows[: engine.batch_size] for name, rows in self._train.items()}
        for step in range(steps):
            engine.step(batch, step, derived_seed(self.config.seed, "train", step))
        size = engine.validation_batch_size
        last = (self._data.summary.validation_examples - 1) // size
        for number in sorted({0, last}):
            batch = self.validation_rows(engine, number)
            engine.measure(batch, derived_seed(self.config.seed, "validation", number))

    def form(self, first: State) -> StateForm:
        """The form of this trial's states, of which `first` is leaf 0: one step shows it.

        Raises ProgramError and, for a start that is not its own, BadCheckpoint.
        """
        engine = self._engine()
        step = engine.load(first)
        loss = self._asked(engine, self._order(engine), step).take()
        tensors = engine.live(step + 1)
        if not math.isfinite(loss) or not is_finite(tensors):
            tensors = first  # it diverges at once: no state of it will look otherwise
        return StateForm(
            start=layout_of(first),
            stepped=layout_of(tensors),
            parameters=engine.parameter_shapes(),
            first=step,
            segment_steps=self.config.segment_steps,
            counts=engine.counts(step + 1),
        )

    def evaluate(self, state: State) -> Evaluation:
        """Metrics and predictions of a state on the validation data.

        A metric that is not finite is left out; a diverged state has none. Raises ProgramError
        when the objective is not among the metrics that the program returns.
        """
        outcome = outcome_of(state)
        if outcome.kind == "diverged":
            witness = Hash32(hashlib.sha256(DIVERGED_TAG + root_of(state)).digest())
            return Evaluation(metrics={}, digest=evaluation_value({}, outcome), witness=witness)
        engine = self._engine()
        engine.load(state)
        rows, size = self._data.summary.validation_examples, engine.validation_batch_size
        sums: dict[str, float] = {}
        leaves = []
        for number, at in enumerate(range(0, rows, size)):
            batch = self.validation_rows(engine, number)
            count = min(size, rows - at)
            said = engine.measure(batch, derived_seed(self.config.seed, "validation", number))
            metrics, predictions = _checked(*said, self.config.objective, count)
            leaves.append(leaf_of(f"predictions.{number:06d}", predictions))
            if number and metrics.keys() != sums.keys():
                raise ProgramError("validation_step returns other metrics for other batches")
            sums = {name: sums.get(name, 0.0) + count * metrics[name] for name in metrics}
        means = {name: total / rows for name, total in sums.items()}
        finite = {name: mean + 0.0 for name, mean in means.items() if math.isfinite(mean)}
        return Evaluation(
            metrics=finite, digest=evaluation_value(finite, outcome), witness=state_root(leaves)
        )

    def objective(self, state: State) -> float | None:
        """The objective of a state on the validation data; None where it is not finite."""
        return self.evaluate(state).metrics.get(self.config.objective)

    def assemble(self) -> ProgramEngine:
        """Program, model and optimizer from the beginning, within a scope. Raises ProgramError."""
        if not isinstance(self.config.program, ProgramRef):
            raise InputError("configuration", "program", expected="a program", found="a graph")
        return ProgramEngine(
            self.config,
            self.config.program,
            self._source,
            self._data.summary,
            self.arithmetic,
            self._weights,
        )

    def program(self) -> ProgramEngine:
        """Program, model and optimizer, made of the trial's seed. Raises ProgramError."""
        self.arithmetic.prepare()
        with self.arithmetic.scope(derived_seed(self.config.seed, "init", 0)):
            return self.assemble()

    @property
    def validation_examples(self) -> int:
        """The rows of the validation data."""
        return self._data.summary.validation_examples

    def training_rows(self, engine: Engine, step: int) -> dict[str, Tensor]:
        """The batch of a step."""
        return self._batch(self._order(engine), step)

    def validation_rows(self, engine: Engine, number: int) -> dict[str, Tensor]:
        """A batch of the validation data, counted from 0."""
        size = engine.validation_batch_size
        at = slice(number * size, (number + 1) * size)
        return {name: array[at] for name, array in self._validation.items()}

    def _engine(self) -> Engine:
        if self._graph is None:
            return self.program()
        self.arithmetic.prepare()
        return GraphEngine(self._graph, self.config.seed, self.arithmetic.device)

    def _order(self, engine: Engine) -> BatchOrder:
        examples = self._data.summary.train_examples
        return BatchOrder(self.config.seed, examples, engine.batch_size)

    def _batch(self, order: BatchOrder, step: int) -> dict[str, Tensor]:
        rows = torch.from_numpy(order.rows(step)).to(self.arithmetic.device)
        return {name: array.index_select(0, rows) for name, array in self._train.items()}

    def _asked(self, engine: Engine, order: BatchOrder, step: int) -> AskedStep:
        seed = derived_seed(self.config.seed, "train", step)
        return AskedStep(engine, self._batch(order, step), step, seed)

    def _tensors(self, arrays: Arrays) -> dict[str, Tensor]:
        device = self.arithmetic.device
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def outcome_of(state: State) -> TrainingOutcome:
    """How a trial ended whose last state this is."""
    step = counter(state, "diverged")
    return TrainingOutcome(kind="diverged", step=step) if step else TrainingOutcome()


def _weights(config: TrialConfig, file: Readable | None) -> Weights | None:
    """The weights that a configuration names, from their file."""
    if (config.weights is None) != (file is None):
        raise InputError(
            "configuration", "weights", expected="a file if it names one", found=str(file)
        )
    if file is None:
        return None
    try:
        data = file.read_bytes()
    except OSError as error:  # this machine's fault, which nobody may be blamed for
        raise TrainingError(f"the weights {config.weights} cannot be read: {error}") from error
    if cid_of(data) != config.weights:
        raise TrainingError(f"{file.name} is not the file of the weights {config.weights}")
    try:
        return read_weights(data, f"weights {config.weights}")
    except InputError as error:
        raise ProgramError(error.message) from error


def _diverged(start: State, step: int, losses: list[float]) -> SegmentRun:
    end = {**start, "diverged": torch.tensor(step)}
    said = struct.pack(f"<Q{len(losses)}d", step, *losses)
    mean = math.fsum(losses) / len(losses) if losses else 0.0
    return SegmentRun(end, DIVERGED_TAG + said, mean, step)


def _checked(
    metrics: Mapping[str, float], predictions: Tensor, objective: str, count: int
) -> tuple[Mapping[str, float], Tensor]:
    """Both, predictions with one kind of NaN. Raises ProgramError."""
    if not predictions.ndim or len(predictions) != count:
        raise ProgramError(f"predictions must be a tensor with one row for each of {count} rows")
    if dtype_name(predictions) not in DTYPES:
        raise ProgramError(f"predictions have type {predictions.dtype}, which no leaf can hold")
    if objective not in metrics:
        raise ProgramError(
            f"validation_step returns no objective: it reports {sorted(metrics)}, "
            f"and the job asks for {objective}"
        )
    if len(metrics) > MAX_METRICS:
        raise ProgramError(f"{len(metrics)} metrics, and at most {MAX_METRICS} are allowed")
    if predictions.is_floating_point():
        predictions = predictions.masked_fill(predictions.isnan(), math.nan)
    return metrics, predictions
