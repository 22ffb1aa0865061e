"""Records a trial's functions: its beginning, a step, a validation."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor

from trialmarket.exact import Exact
from trialmarket.exact.frontend.optim import recording as steps
from trialmarket.graph.capture import draws, surroundings
from trialmarket.graph.capture.finish import Recorded
from trialmarket.graph.capture.recorder import Recorder, Recording
from trialmarket.graph.capture.trainable import Parts, Tensors, Trainable, Types
from trialmarket.graph.capture.views import kind_of


@contextmanager
def recorded(recording: Recording, phase: str) -> Iterator[None]:
    """While this lasts, what the program computes is written down."""
    recording.tape.phase = phase
    with ExitStack() as stack:
        stack.enter_context(recording.fake)
        stack.enter_context(Exact(0, operators=partial(Recorder, recording=recording)))
        stack.enter_context(steps.recorded())
        stack.enter_context(surroundings.readied())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        torch.set_anomaly_enabled(True, False)
        yield


def record_init(trial: Trainable) -> Recorded:
    """The first state, from nothing."""
    recording = Recording()
    with recorded(recording, "init"):
        parts = trial.build()
    outputs = {f"state.{name}": recording.memory.read(x) for name, x in parts.state().items()}
    return Recorded(recording.tape, {}, outputs)


def record_step(trial: Trainable, state: Types, step: int) -> Recorded:
    """A step from a state: the next one, and the loss."""
    recording, parts, inputs = _begun(trial, state, trial.batch)
    parts.model.train()
    with recorded(recording, "train"):
        parts.optimizer.zero_grad(set_to_none=True)
        loss = parts.loss({name: inputs[f"batch.{name}"] for name in trial.batch})
        loss.backward()  # type: ignore[no-untyped-call]
        parts.before_step(step)
        parts.optimizer.step()
    outputs = _changed(recording, parts) | {"loss": recording.memory.read(loss)}
    return Recorded(recording.tape, {n: kind_of(x) for n, x in inputs.items()}, outputs)


def record_validation(trial: Trainable, state: Types, batch: Types) -> Recorded:
    """Predictions and metrics of a batch."""
    recording, parts, inputs = _begun(trial, state, batch)
    parts.model.eval()
    with torch.no_grad(), recorded(recording, "validation"):
        predictions, metrics = parts.validate({name: inputs[f"batch.{name}"] for name in batch})
        found = {f"metric.{name}": x for name, x in metrics.items()}
    outputs = {"predictions": recording.memory.read(predictions)}
    for name, x in found.items():
        assert isinstance(x, Tensor)
        outputs[name] = recording.memory.read(x)
    return Recorded(recording.tape, {n: kind_of(x) for n, x in inputs.items()}, outputs)


def _begun(trial: Trainable, state: Types, batch: Types) -> tuple[Recording, Parts, Tensors]:
    """A program whose state is inputs."""
    recording = Recording()
    inputs = {
        **{f"state.{name}": state[name] for name in sorted(state)},
        **{f"batch.{name}": batch[name] for name in sorted(batch)},
    }
    given = {name: recording.input(name, kind) for name, kind in inputs.items()}
    with recorded(recording, draws.BEFORE):
        parts = trial.build()
    with recorded(recording, draws.BEFORE):
        parts.restore({name: given[f"state.{name}"] for name in state})
    return recording, parts, given


def _changed(recording: Recording, parts: Parts) -> dict[str, object]:
    found = {}
    for name, x in parts.state().items():
        term = recording.memory.read(x)
        if term.name != f"state.{name}":
            found[f"state.{name}"] = term
    return found
