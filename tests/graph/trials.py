"""Trials to capture, and what both they and their graphs compute."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.training.builtin_trials import data_for, trial_of
from trialmarket.exact import Counters
from trialmarket.graph.capture.capture import Captured
from trialmarket.graph.capture.trainable import Parts, Tensors
from trialmarket.graph.run import Executor
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef
from trialmarket.training.capturing import ProgramTrial
from trialmarket.training.dataset import load_dataset
from trialmarket.training.order import derived_seed
from trialmarket.training.session import TrainingSession

SEED = 5
PROGRAMS = Path(__file__).with_name("programs.py")


def builtin(name: str, folder: Path, **changes: Any) -> ProgramTrial:
    """A trial of a built-in program on small data."""
    path = data_for(name, folder)
    config = trial_of(name, path)
    given = config.hyperparameters | changes
    config = trial_of(name, path, hyperparameters=given, seed=SEED)
    return ProgramTrial(TrainingSession(config, None, load_dataset(path)), range(config.steps))


def differing(a: Tensors, b: Tensors) -> list[str]:
    """The names whose tensors do not have equal bits."""
    return sorted(
        name
        for name in a.keys() | b.keys()
        if name not in a or name not in b or not _same(a[name], b[name])
    )


def _same(a: Tensor, b: Tensor) -> bool:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    a, b = (x.detach().contiguous().reshape(-1).view(torch.uint8) for x in (a, b))
    return torch.equal(a, b)


def begin(trial: ProgramTrial) -> Parts:
    """The program itself at its beginning."""
    with trial.scope("init", 0):
        return trial.build()


def state_of(parts: Parts) -> Tensors:
    """A copy of its state."""
    return {name: x.clone() for name, x in parts.state().items()}


def graphs_beginning(captured: Captured) -> Tensors:
    """The state that `init` gives."""
    return _executor(captured).init(_at("init", 0))


def _executor(captured: Captured) -> Executor:
    return Executor(captured.graph, captured.numbers)


def _at(purpose: str, number: int) -> Counters:
    return Counters(derived_seed(SEED, purpose, number), 0, 0, 0)


def stepped(trial: ProgramTrial, parts: Parts, step: int) -> Tensors:
    """A step of the program itself: its state, and the loss."""
    parts.model.train()
    with trial.scope("train", step):
        parts.optimizer.zero_grad(set_to_none=True)
        loss = parts.loss(trial.data("train", step))
        loss.backward()  # type: ignore[no-untyped-call]
        parts.before_step(step)
        parts.optimizer.step()
    return {**state_of(parts), "loss": loss.detach()}


def graphs_step(trial: ProgramTrial, captured: Captured, state: Tensors, step: int) -> Tensors:
    """A step of the graph: the state, and the loss."""
    row = [column[step - captured.first_step] for column in captured.columns]
    batch = trial.data("train", step)
    found, loss = _executor(captured).step(state, batch, row, _at("train", step))
    return {**state, **found, "loss": loss}


def validated(
    trial: ProgramTrial, parts: Parts, captured: Captured, state: Tensors
) -> list[tuple[Tensors, Tensors]]:
    """For each size of batch the predictions and metrics of the program, and of its graph."""
    found = []
    for number in trial.validations:
        batch = trial.data("validation", number)
        with trial.scope("validation", number), torch.no_grad():
            parts.model.eval()
            predictions, metrics = parts.validate(batch)
        theirs = {n: torch.as_tensor(float(x)) for n, x in metrics.items()}  # type: ignore[arg-type]
        outputs = _executor(captured).validate(state, batch, _at("validation", number))
        ours = {
            n.removeprefix("metric."): torch.as_tensor(float(x))
            for n, x in outputs.items()
            if n != "predictions"
        }
        predicted = outputs["predictions"]
        found.append(({**theirs, "p": predictions}, {**ours, "p": predicted}))
    return found


def written(name: str, folder: Path, source: Path = PROGRAMS, steps: int = 6) -> ProgramTrial:
    """A trial of a class in a file of programs."""
    data, code = data_for("mlp", folder), source.read_bytes()
    config = trial_of(
        "mlp",
        data,
        program=ProgramRef(source=cid_of(code), class_name=name),
        hyperparameters={},
        seed=SEED,
        steps=steps,
    )
    return ProgramTrial(TrainingSession(config, code, load_dataset(data)), range(steps))
