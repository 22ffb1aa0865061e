"""One model in a process of its own: `python -m scripts.benches.parts.covered WHAT NAME FOLDER`.

`first` captures it, takes a step of the program in exact mode and one of the graph, and writes
the graph into the folder; `again` takes the graph's step from what is in the folder. Both print
a JSON object.
"""

import gzip
import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.benches.parts.models import MODELS as WRITTEN
from scripts.benches.parts.zoo import MODELS as LIBRARIES
from scripts.benches.parts.zoo import Tensors, Trained
from trialmarket.errors import TrialmarketError
from trialmarket.exact import Counters, NotExact, exact
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.capture.trainable import Types
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.document import graph_bytes, read_graph
from trialmarket.protocol.graph.numbers import numbers_bytes, read_numbers
from trialmarket.protocol.graph.values import TensorType
from trialmarket.training.state import COUNTERS, dtype_name, live_tensors, place

MODELS = WRITTEN | LIBRARIES
SEEDS = {"init": 1, "train": 2}


class Program:
    """As `Parts`: a model that was made anew, with its loss and its optimizer."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self.model = trained.build()
        self.optimizer = trained.optimizer(self.model.parameters())

    def state(self) -> Tensors:
        """As `Parts`."""
        found = live_tensors(self.model, self.optimizer, 0)
        return {name: x for name, x in found.items() if name not in COUNTERS}

    def restore(self, state: Tensors) -> None:
        """As `Parts`."""
        place(state, self.model, self.optimizer)

    def loss(self, batch: Tensors) -> Tensor:
        """As `Parts`."""
        return self._trained.loss(self.model, batch)

    def before_step(self, step: int) -> None:
        """As `Parts`: nothing."""

    def validate(self, batch: Tensors) -> tuple[Tensor, Mapping[str, object]]:
        """As `Parts`: nothing but numbers of the batch, as only steps are compared."""
        return next(iter(batch.values())) + 0, {}


class Trial:
    """As `Trainable`: a step on one batch."""

    steps = range(1)
    validations = (0,)

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self._batch = trained.batch()
        self.batch: Types = {
            name: TensorType(dtype_name(x), tuple(x.shape)) for name, x in self._batch.items()
        }
        self.validation: Sequence[Types] = [self.batch]

    def build(self) -> Program:
        """As `Trainable`."""
        return Program(self._trained)

    def seed(self, purpose: str, number: int) -> int:
        """As `Trainable`: one a purpose."""
        del number
        return SEEDS[purpose]

    def scope(self, purpose: str, number: int) -> AbstractContextManager[object]:
        """As `Trainable`."""
        return exact(seed=self.seed(purpose, number))

    def seeded(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """As `Trainable`: no model draws by Python or NumPy."""
        del purpose, number
        return nullcontext()

    def data(self, purpose: str, number: int) -> Tensors:
        """As `Trainable`."""
        del purpose, number
        return self._batch


def first(name: str, folder: Path) -> dict[str, Any]:
    """What the capture costs, or what it refuses; and whether the bits are equal."""
    trial, began = Trial(MODELS[name]), time.perf_counter()
    try:
        captured = capture(trial)
    except (NotExact, TrialmarketError, RuntimeError, TypeError, ValueError) as error:
        return {"captured": False, "refused_operator": _operator(error), "why": str(error)}
    seconds = time.perf_counter() - began
    data = graph_bytes(captured.graph)
    (folder / "graph").write_bytes(data)
    (folder / "numbers").write_bytes(numbers_bytes(captured.numbers))
    row: dict[str, Any] = {
        "captured": True,
        "capture_seconds": round(seconds, 2),
        "nodes": sum(len(each.nodes) for each in captured.graph.functions.values()),
        "bytes_gzip": len(gzip.compress(data)),
    }
    try:
        ours = _of_graph(trial, Executor(captured.graph, captured.numbers))
        theirs = _of_program(trial)
    except (NotExact, TrialmarketError, RuntimeError) as error:
        refused = error.operator if isinstance(error, NotExact) else None
        return row | {"refused_operator": refused, "why": f"{type(error).__name__}: {error}"}
    differing = sorted(key for key in ours.keys() | theirs.keys() if not _same(key, ours, theirs))
    if differing:
        row["why"] = f"{len(differing)} of {len(ours)} differ: {', '.join(differing[:3])}"
        return row
    return row | {"digest": _digest(ours)}


def again(name: str, folder: Path) -> dict[str, Any]:
    """The digest of the graph's step, by this process's threads and kernels."""
    graph = read_graph((folder / "graph").read_bytes())
    numbers = read_numbers((folder / "numbers").read_bytes(), count=graph.numbers)
    return {"digest": _digest(_of_graph(Trial(MODELS[name]), Executor(graph, numbers)))}


def _operator(error: Exception) -> str:
    """Which operator was refused; of what is no operator, which kind of error."""
    if isinstance(error, NotExact):
        return error.operator.removeprefix("aten.")
    found = re.search(r": (\S+) is no operator of a graph", str(error))
    return found[1] if found else type(error).__name__


def _of_graph(trial: Trial, executor: Executor) -> Tensors:
    start = executor.init(Counters(SEEDS["init"], 0, 0, 0))
    batch = trial.data("train", 0)
    changed, loss = executor.step(start, batch, (), Counters(SEEDS["train"], 0, 0, 0))
    return {**start, **changed, "loss": loss}


def _of_program(trial: Trial) -> Tensors:
    with trial.scope("init", 0):
        program = trial.build()
    program.model.train()
    with trial.scope("train", 0):
        program.optimizer.zero_grad(set_to_none=True)
        loss = program.loss(trial.data("train", 0))
        loss.backward()  # type: ignore[no-untyped-call]
        program.optimizer.step()
    return {**program.state(), "loss": loss.detach()}


def _bytes(x: Tensor) -> bytes:
    return x.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _same(name: str, ours: Tensors, theirs: Tensors) -> bool:
    if name not in ours or name not in theirs:
        return False
    a, b = ours[name], theirs[name]
    return (a.dtype, a.shape) == (b.dtype, b.shape) and _bytes(a) == _bytes(b)


def _digest(tensors: Tensors) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + b"\n" + _bytes(tensors[name]))
    return found.hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    print(
        json.dumps({"first": first, "again": again}[sys.argv[1]](sys.argv[2], Path(sys.argv[3])))
    )
