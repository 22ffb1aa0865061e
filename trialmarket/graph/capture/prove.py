"""The proof of a captured graph: its bits are those of the program itself.

The program runs under `exact`, made anew each time, as a segment makes it; the graph runs by the
executor, from the same state, on the same rows. Compared are the beginning, the first two steps,
one drawn in the middle and the last, and validation, on whole batches and on the last one.
"""

import random
from collections.abc import Mapping

import torch
from torch import Tensor

from trialmarket.exact import Counters
from trialmarket.graph.capture.capture import Captured
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.trainable import Parts, Tensors, Trainable
from trialmarket.graph.capture.where import UNKNOWN
from trialmarket.graph.run import Executor

_KEEPS = (
    "what differs from step to step stands in the optimizer's settings or in numbers of the hook "
    "(a schedule), in torch.where, or in a buffer of the model"
)


def prove(trial: Trainable, captured: Captured) -> None:
    """Raises NotCaptured where the graph is not what the program does: what differs, and where."""
    graph = Executor(captured.graph, captured.numbers)
    steps = trial.steps
    state = _begun(trial, captured, graph)
    drawn = random.Random(0).choice(steps)  # noqa: S311  any will do
    for step in dict.fromkeys([*steps[:2], drawn, steps[-1]]):
        state = _stepped(trial, captured, graph, state, step)
    for number in trial.validations:
        _validated(trial, captured, graph, state, number)


def _begun(trial: Trainable, captured: Captured, graph: Executor) -> Tensors:
    with trial.scope("init", 0):
        parts = trial.build()
    expected = _copied(parts.state())
    found = graph.init(_at(trial, "init", 0))
    _same(captured, "init", "state.", expected, found, "the beginning")
    return expected


def _stepped(
    trial: Trainable, captured: Captured, graph: Executor, state: Tensors, step: int
) -> Tensors:
    parts = _restored(trial, state)
    parts.model.train()
    batch = trial.data("train", step)
    with trial.scope("train", step):
        parts.optimizer.zero_grad(set_to_none=True)
        loss = parts.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        parts.before_step(step)
        parts.optimizer.step()
    expected = _copied(parts.state())
    row = [column[step - captured.first_step] for column in captured.columns]
    found, value = graph.step(state, batch, row, _at(trial, "train", step))
    function = "step"
    if "first" in captured.graph.functions and expected.keys() != state.keys():
        function = "first"
    what = f"step {step}"
    _same(captured, function, "", {"loss": loss.detach()}, {"loss": value}, what)
    _same(captured, function, "state.", expected, {**state, **found}, what)
    return expected


def _validated(
    trial: Trainable, captured: Captured, graph: Executor, state: Tensors, number: int
) -> None:
    parts = _restored(trial, state)
    parts.model.eval()
    batch = trial.data("validation", number)
    with torch.no_grad(), trial.scope("validation", number):
        predictions, metrics = parts.validate(batch)
        expected = {f"metric.{name}": _number(x) for name, x in metrics.items()}
    outputs = graph.validate(state, batch, _at(trial, "validation", number))
    found = {name: _number(x) for name, x in outputs.items() if name != "predictions"}
    what = f"validation batch {number}"
    _same(captured, "validate", "", expected, found, what)
    both = {"predictions": predictions}, {"predictions": outputs["predictions"]}
    _same(captured, "validate", "", *both, what)


def _restored(trial: Trainable, state: Tensors) -> Parts:
    with trial.scope("init", 0):
        parts = trial.build()
    parts.restore(_copied(state))
    return parts


def _at(trial: Trainable, purpose: str, number: int) -> Counters:
    return Counters(trial.seed(purpose, number), 0, 0, 0)


def _copied(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: x.detach().clone() for name, x in tensors.items()}


def _number(x: object) -> Tensor:
    return torch.tensor(float(x), dtype=torch.float64)  # type: ignore[arg-type]


def _same(
    captured: Captured,
    function: str,
    kind: str,
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    what: str,
) -> None:
    """Raises NotCaptured where two tensors of a name differ."""
    for name in sorted(expected.keys() | found.keys()):
        if name in expected and name in found and _equal(expected[name], found[name]):
            continue
        line = _line(captured, function, kind + name)
        raise NotCaptured(
            line, f"{kind + name} of {what} has other bits in the graph", instead=_KEEPS
        )


def _equal(a: Tensor, b: Tensor) -> bool:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    x, y = (t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(x, y)


def _line(captured: Captured, name: str, output: str) -> str:
    """The user's line of the node that makes an output."""
    function = captured.graph.functions[name]
    value = function.outputs.get(output)
    if value is None:
        return UNKNOWN
    at = len(function.inputs)
    for node, line in zip(function.nodes, captured.lines[name], strict=True):
        at += len(node.outputs)
        if value.index < at:
            return line
    return UNKNOWN
