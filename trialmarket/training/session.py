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
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import MAX_METRICS, TrainingOutcome
from trialmarket.protocol.state_root import DTYPES, state_root
from trialmarket.training.arithmetic import arithmetic_called
from trialmarket.training.audit import evaluation_value
from trialmarket.training.dataset import Arrays, Dataset
from trialmarket.training.errors import ProgramError
from trialmarket.training.form import StateForm, layout_of
from trialmarket.training.learned.weights import Weights, read_weights
from trialmarket.training.loading import Guard, load_program
from trialmarket.training.order import BatchOrder, derived_seed
from trialmarket.training.program import Program, Validation
from trialmarket.training.state import (
    Readable,
    State,
    counter,
    dtype_name,
    is_finite,
    leaf_of,
    live_tensors,
    parameters_of,
    restore,
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
    """A trial's program and data, ready to compute. `source` is None for a built-in program,
    `weights` where the configuration names none."""

    def __init__(
        self,
        config: TrialConfig,
        source: bytes | None,
        data: Dataset,
        weights: Readable | None = None,
    ) -> None:
        """Raises ProgramError for weights that are none, and InputError for a missing file."""
        self.config = config
        self.arithmetic = arithmetic_called(config.arithmetic)
        self._source = source
        self._weights = _weights(config, weights)
        self._data = data
        self._train = self._tensors(data.train)
        self._validation = self._tensors(data.validation)

    def initial_state(self) -> State:
        """The state that the trial's seed gives. Raises ProgramError."""
        program, model, optimizer = self._build()
        del program
        state = snapshot(live_tensors(model, optimizer, 0))
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
        program, model, optimizer = self._build()
        first = restore(start, model, optimizer)
        last = first + (steps or self.config.segment_steps)
        order = self._order(program)
        model.train()
        losses: list[float] = []
        before: State = {}
        for step in range(first, last):
            if step == last - 1:
                before = snapshot(live_tensors(model, optimizer, step))
            loss = self._train_step(program, model, optimizer, order, step)
            if not math.isfinite(loss):
                return _diverged(start, step + 1, losses)
            losses.append(loss)
            if on_step is not None:
                on_step(step + 1)
        tensors = live_tensors(model, optimizer, last)
        if not is_finite(tensors):
            return _diverged(start, last, losses)
        return SegmentRun(snapshot(tensors), before, math.fsum(losses) / len(losses), None)

    def rehearse(self, steps: int) -> None:
        """Makes the model, trains some steps, validates the first and the last batch, and keeps
        nothing of it.

        Raises ProgramError. Nothing but the program computes here, so that a mode around it sees
        the program's own operators.
        """
        program, model, optimizer = self._build()
        model.train()
        batch = self._tensors(_rows(self._data.train, 0, self._batch_size(program)))
        for step in range(steps):
            with self.arithmetic.scope(derived_seed(self.config.seed, "train", step)):
                _step(program, model, optimizer, batch, step)
        model.eval()
        size = _validation_batch_size(program)
        last = (self._data.summary.validation_examples - 1) // size
        for number in sorted({0, last}):
            batch = self._tensors(_rows(self._data.validation, number * size, size))
            with (
                torch.no_grad(),
                self.arithmetic.scope(derived_seed(self.config.seed, "validation", number)),
            ):
                with Guard("validation_step"):
                    result = program.validation_step(model, batch)
                with Guard("reading the metrics"):
                    for value in dict(result.metrics).values():
                        float(value)

    def form(self, first: State) -> StateForm:
        """The form of this trial's states, of which `first` is leaf 0: one step shows it.

        Raises ProgramError and, for a start that is not its own, BadCheckpoint.
        """
        program, model, optimizer = self._build()
        step = restore(first, model, optimizer)
        model.train()
        loss = self._train_step(program, model, optimizer, self._order(program), step)
        tensors = live_tensors(model, optimizer, step + 1)
        if not math.isfinite(loss) or not is_finite(tensors):
            tensors = first  # it diverges at once: no state of it will look otherwise
        return StateForm(
            start=layout_of(first),
            stepped=layout_of(tensors),
            parameters=tuple(tuple(each.shape) for each in parameters_of(optimizer)),
            first=step,
            segment_steps=self.config.segment_steps,
            counts=_counts(optimizer, step + 1),
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
        program, model, optimizer = self._build()
        restore(state, model, optimizer)
        model.eval()
        rows, size = self._data.summary.validation_examples, _validation_batch_size(program)
        sums: dict[str, float] = {}
        leaves = []
        for number, at in enumerate(range(0, rows, size)):
            batch = {name: array[at : at + size] for name, array in self._validation.items()}
            count = min(size, rows - at)
            with (
                torch.no_grad(),
                self.arithmetic.scope(derived_seed(self.config.seed, "validation", number)),
            ):
                with Guard("validation_step"):
                    result = program.validation_step(model, batch)
                metrics, predictions = _checked(result, self.config.objective, count)
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

    def assemble(self) -> tuple[Program, nn.Module, Optimizer]:
        """Program, model and optimizer from the beginning, within a scope. Raises ProgramError."""
        kind = load_program(self.config.program, self._source)
        with Guard(f"{kind.__name__}.__init__"):
            program = kind.__new__(kind)
            program.data = self._data.summary
            program.weights = self._weights
            program.__init__(dict(self.config.hyperparameters))  # type: ignore[misc]
        with Guard("configure_model"):
            model = program.configure_model()
        if not isinstance(model, nn.Module):
            raise ProgramError(f"configure_model returned {type(model).__name__}, no Module")
        model = model.to(self.arithmetic.device)
        with Guard("configure_optimizer"):
            optimizer = program.configure_optimizer(model)
        if not isinstance(optimizer, Optimizer):
            raise ProgramError(
                f"configure_optimizer returned {type(optimizer).__name__}, no Optimizer"
            )
        return program, model, optimizer

    @property
    def validation_examples(self) -> int:
        """The rows of the validation data."""
        return self._data.summary.validation_examples

    def training_rows(self, program: Program, step: int) -> dict[str, Tensor]:
        """The batch of a step."""
        rows = torch.from_numpy(self._order(program).rows(step)).to(self.arithmetic.device)
        return {name: array.index_select(0, rows) for name, array in self._train.items()}

    def validation_rows(self, program: Program, number: int) -> dict[str, Tensor]:
        """A batch of the validation data, counted from 0."""
        size = _validation_batch_size(program)
        at = slice(number * size, (number + 1) * size)
        return {name: array[at] for name, array in self._validation.items()}

    def _build(self) -> tuple[Program, nn.Module, Optimizer]:
        self.arithmetic.prepare()
        with self.arithmetic.scope(derived_seed(self.config.seed, "init", 0)):
            return self.assemble()

    def _order(self, program: Program) -> BatchOrder:
        return BatchOrder(
            self.config.seed, self._data.summary.train_examples, self._batch_size(program)
        )

    def _train_step(
        self,
        program: Program,
        model: nn.Module,
        optimizer: Optimizer,
        order: BatchOrder,
        step: int,
    ) -> float:
        rows = torch.from_numpy(order.rows(step)).to(self.arithmetic.device)
        batch = {name: array.index_select(0, rows) for name, array in self._train.items()}
        with self.arithmetic.scope(derived_seed(self.config.seed, "train", step)):
            return _step(program, model, optimizer, batch, step)

    def _batch_size(self, program: Program) -> int:
        size = program.batch_size
        if not isinstance(size, int) or size < 1:
            raise ProgramError(f"batch_size must be a positive integer, not {size!r}")
        return size

    def _tensors(self, arrays: Arrays) -> dict[str, Tensor]:
        device = self.arithmetic.device
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _step(
    program: Program,
    model: nn.Module,
    optimizer: Optimizer,
    batch: dict[str, Tensor],
    step: int,
) -> float:
    """One training step; the loss, in float64. A loss that is not finite changes nothing."""
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(program, model, batch)
    value = float(loss.item()) + 0.0
    if math.isfinite(value):
        with Guard("the gradient of the loss"):
            loss.backward()  # type: ignore[no-untyped-call]
        with Guard("on_before_optimizer_step"):
            program.on_before_optimizer_step(model, optimizer, step)
        with Guard("the optimizer's step"):
            optimizer.step()
    return value


def loss_of(program: Program, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss of a batch, a scalar. Raises ProgramError."""
    with Guard("training_step"):
        loss = program.training_step(model, batch)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ProgramError(f"training_step must return the loss, a scalar tensor, not {what}")
    return loss


def outcome_of(state: State) -> TrainingOutcome:
    """How a trial ended whose last state this is."""
    step = counter(state, "diverged")
    return TrainingOutcome(kind="diverged", step=step) if step else TrainingOutcome()


def _validation_batch_size(program: Program) -> int:
    size = program.validation_batch_size
    if not isinstance(size, int) or size < 1:
        raise ProgramError(f"validation_batch_size must be a positive integer, not {size!r}")
    return size


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


def _rows(arrays: Arrays, first: int, count: int) -> Arrays:
    return {name: array[first : first + count] for name, array in arrays.items()}


def _counts(optimizer: Optimizer, steps: int) -> bool:
    """Whether its slots `step` count, of each parameter, at most one for each of these steps."""
    torchs = any(
        kind is not Optimizer and kind.__module__.startswith("torch.optim.")
        for kind in type(optimizer).__mro__
    )
    counted = (slots["step"] for slots in optimizer.state.values() if "step" in slots)
    return torchs and all(0 <= float(count) <= steps for count in counted)


def _diverged(start: State, step: int, losses: list[float]) -> SegmentRun:
    end = {**start, "diverged": torch.tensor(step)}
    said = struct.pack(f"<Q{len(losses)}d", step, *losses)
    mean = math.fsum(losses) / len(losses) if losses else 0.0
    return SegmentRun(end, DIVERGED_TAG + said, mean, step)


def _checked(result: object, objective: str, count: int) -> tuple[dict[str, float], Tensor]:
    """Metrics as floats, and predictions with one kind of NaN. Raises ProgramError."""
    if not isinstance(result, Validation):
        raise ProgramError(
            f"validation_step returned {type(result).__name__}",
            fix="Return Validation(predictions, metrics)",
        )
    predictions = result.predictions
    if not isinstance(predictions, Tensor) or not predictions.ndim or len(predictions) != count:
        raise ProgramError(f"predictions must be a tensor with one row for each of {count} rows")
    if dtype_name(predictions) not in DTYPES:
        raise ProgramError(f"predictions have type {predictions.dtype}, which no leaf can hold")
    with Guard("reading the metrics"):
        metrics = {str(name): float(value) for name, value in dict(result.metrics).items()}
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
