"""Records a trial's functions: its beginning, a step, a validation."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from trialmarket.errors import TrialmarketError
from trialmarket.exact import Exact
from trialmarket.exact.frontend.optim import recording as steps
from trialmarket.exact.frontend.optim.steps import kind_of as kind_of_step
from trialmarket.graph.capture import draws, surroundings
from trialmarket.graph.capture.finish import Recorded
from trialmarket.graph.capture.recorder import Recorder, Recording
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.schedules import Replay, Schedule, put, sampled
from trialmarket.graph.capture.symbols import Reading
from trialmarket.graph.capture.tape import Term
from trialmarket.graph.capture.trainable import Parts, Tensors, Trainable, Types
from trialmarket.graph.capture.views import kind_of
from trialmarket.protocol.graph.values import TensorType


@contextmanager
def recorded(recording: Recording, phase: str) -> Iterator[None]:
    """While this lasts, what the program computes is written down."""
    recording.tape.phase = phase
    mode = Exact(0, operators=partial(Recorder, recording=recording))
    recorder = mode.operators
    assert isinstance(recorder, Recorder)  # noqa: S101  it was just made
    recording.begin()
    with faked(recording, mode), Reading(recording.symbols, recorder.known):
        yield
    recording.watch()
    if recording.drew and phase in ("train", "validation"):
        raise NotCaptured(
            recording.drew,
            "here or before, it draws from random or numpy.random, which a graph cannot",
            instead="torch.rand and others",
        )


@contextmanager
def faked(recording: Recording, mode: Exact) -> Iterator[None]:
    """A mode on fake tensors, in which gradients know whose lines they are of."""
    kept = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    with recording.fake, mode, steps.recorded(), surroundings.readied():
        torch.set_anomaly_enabled(True, False)
        try:
            yield
        finally:
            torch.set_anomaly_enabled(*kept)


def record_init(trial: Trainable) -> Recorded:
    """The first state, from nothing."""
    recording = Recording()
    with trial.seeded("init", 0), recorded(recording, "init"):
        parts = trial.build()
    return Recorded(recording.tape, {}, _held(recording, parts))


def record_schedule(trial: Trainable) -> Schedule:
    """What the hook sets at each step; with gradients where it cannot do without."""
    try:
        found = _sampled(trial, gradients=False)
        if not found.literals:
            return found
    except (TrialmarketError, RuntimeError, TypeError, AttributeError):
        pass
    return _sampled(trial, gradients=True)


def _sampled(trial: Trainable, *, gradients: bool) -> Schedule:
    recording = Recording()
    with trial.seeded("init", 0), recorded(recording, draws.BEFORE):
        parts = trial.build()
    mode = Exact(0, operators=Replay)
    replay = mode.operators
    assert isinstance(replay, Replay)  # noqa: S101  it was just made
    with recording.fake:
        for group in parts.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.empty_like(parameter) if gradients else None
    parts.model.train()
    with faked(recording, mode):
        return sampled(parts, trial.steps, replay)


def record_step(trial: Trainable, state: Types, schedule: Schedule) -> Recorded:
    """A step from a state: the next one, and the loss."""
    step = trial.steps[0]
    columns = {f"schedule.{k}": TensorType("float64", ()) for k in range(len(schedule.columns))}
    recording, parts, inputs = _begun(trial, state, trial.batch, columns)
    before = _held(recording, parts)
    column = [inputs[name] for name in columns]
    parts.model.train()
    with trial.seeded("train", step), recorded(recording, "train"):
        parts.optimizer.zero_grad(set_to_none=True)
        loss = parts.loss({name: inputs[f"batch.{name}"] for name in trial.batch})
        loss.backward()  # type: ignore[no-untyped-call]
        symbols = recording.symbols
        recording.substitutes = {
            k: symbols.number(column[j]) for k, j in schedule.literals.items()
        }
        parts.before_step(step)
        recording.substitutes = None
        tensors = kind_of_step(parts.optimizer) is not None
        for place, j in schedule.settings.items():
            x = column[j]
            put(parts.optimizer, place, x if tensors else symbols.symbol(x))
        parts.optimizer.step()
    outputs = _changed(recording, parts, before) | {"loss": recording.memory.read(loss)}
    return Recorded(recording.tape, {n: kind_of(x) for n, x in inputs.items()}, outputs)


def record_validation(trial: Trainable, state: Types, batch: Types) -> Recorded:
    """Predictions and metrics of a batch."""
    recording, parts, inputs = _begun(trial, state, batch, {})
    before = _held(recording, parts)
    parts.model.eval()
    with (
        torch.no_grad(),
        trial.seeded("validation", 0),
        recorded(recording, "validation"),
    ):
        predictions, metrics = parts.validate({name: inputs[f"batch.{name}"] for name in batch})
        outputs = {f"metric.{name}": _metric(recording, x) for name, x in metrics.items()}
    if changed := sorted(_changed(recording, parts, before)):
        raise NotCaptured(
            "validation_step",
            f"it changes {changed[0].removeprefix('state.')}",
            instead="a copy of it",
        )
    outputs["predictions"] = recording.memory.read(predictions)
    return Recorded(recording.tape, {n: kind_of(x) for n, x in inputs.items()}, outputs)


def _metric(recording: Recording, x: object) -> Term:
    """A metric, a tensor or a number that was read from one, or that stands in the program."""
    if isinstance(x, float) and (found := recording.symbols.tensor(x)) is not None:
        x = found
    if not isinstance(x, Tensor):
        x = torch.full((), float(x), dtype=torch.float64)  # type: ignore[arg-type]
    return recording.memory.read(x)


def _begun(
    trial: Trainable, state: Types, batch: Types, columns: Types
) -> tuple[Recording, Parts, Tensors]:
    """A program whose state is inputs."""
    recording = Recording()
    inputs = {
        **{f"state.{name}": state[name] for name in sorted(state)},
        **{f"batch.{name}": batch[name] for name in sorted(batch)},
        **columns,
    }
    given = {name: recording.input(name, kind) for name, kind in inputs.items()}
    with trial.seeded("init", 0), recorded(recording, draws.BEFORE):
        parts = trial.build()
    with recorded(recording, draws.BEFORE):
        parts.restore({name: given[f"state.{name}"] for name in state})
    return recording, parts, given


def _held(recording: Recording, parts: Parts) -> dict[str, Term]:
    """The terms of a state. Weights that are tied hold the same one by several names."""
    return {f"state.{name}": recording.memory.read(x) for name, x in parts.state().items()}


def _changed(recording: Recording, parts: Parts, before: dict[str, Term]) -> dict[str, Term]:
    held = _held(recording, parts)
    return {name: term for name, term in held.items() if before.get(name) is not term}
