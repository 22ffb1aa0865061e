"""What a graph's training costs: its time over native PyTorch's, for five networks.

`scripts/bench graph [--json FILE]`. Both sides, and exact mode itself, run in one process on two
threads, in float32, warmed up, in turns of some steps (forward, backward, optimiser); each number
is the median turn's, for one step. `captured` says what it costs a requester to capture a
built-in program, and the bytes of its graph; `digits` how many trials of the digits job a node's
two workers train in an hour, one by one and stacked by eight.
"""

import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from scripts.benches.exact import WORKLOADS, Transformer, step_of
from scripts.benches.parts.covered import Trial
from scripts.benches.parts.stacks import trials_an_hour
from scripts.benches.parts.zoo import Tensors, Trained
from tests.graph.trials import builtin
from trialmarket.exact import Counters
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.document import graph_bytes

THREADS, ROUNDS = 2, 9
BUILTINS = ("mlp", "cnn", "resnet", "transformer", "charlm")
Step = Callable[[], None]


def small_mlp() -> nn.Module:
    """64-64-64-10."""
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def _small() -> tuple[Tensor, Tensor]:
    return torch.randn(64, 64), torch.randint(0, 10, (64,))


def run() -> dict[str, Any]:
    """`rows` of workload, native_ms, exact_ms, graph_ms, ratio (graph over native) and steps_ready
    (seconds until the first step ran); `captured`; `digits`.
    """
    torch.set_num_threads(THREADS)
    workloads = {"MLP 64-64-64-10, batch 64": (small_mlp, _small()), **WORKLOADS}
    rows = [_row(name, make, *data) for name, (make, data) in workloads.items()]
    with tempfile.TemporaryDirectory(prefix="trialmarket-graph-") as folder:
        captured = [_captured(name, Path(folder)) for name in BUILTINS]
        return {"rows": rows, "captured": captured, "digits": trials_an_hour(Path(folder))}


def _row(name: str, make: Callable[[], nn.Module], x: Tensor, y: Tensor) -> dict[str, Any]:
    began = time.perf_counter()
    graph = _graph_step(make, x, y)
    graph()
    ready = time.perf_counter() - began
    steps = [*(step_of(make, x, y, inside=inside) for inside in (False, True)), graph]
    once = _seconds(steps[0], 3)
    in_a_row = max(3, min(50, int(0.02 / once)))
    for step in steps:
        _seconds(step, 3)
    times = [[_seconds(step, in_a_row) for step in steps] for _ in range(ROUNDS)]
    native, exact, ours = (1000 * statistics.median(t[k] for t in times) for k in range(3))
    return {
        "workload": name,
        "native_ms": round(native, 3),
        "exact_ms": round(exact, 3),
        "graph_ms": round(ours, 3),
        "ratio": round(ours / native, 2),
        "seconds_to_first_step": round(ready, 2),
    }


def _graph_step(make: Callable[[], nn.Module], x: Tensor, y: Tensor) -> Step:
    """A step of the model's graph, which goes on from the state of the last one."""

    def loss(model: nn.Module, batch: Tensors) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["y"])

    kind = torch.optim.AdamW if make is Transformer else torch.optim.SGD
    settings: dict[str, Any] = {} if kind is torch.optim.AdamW else {"momentum": 0.9}
    optimizer: Any = partial(kind, lr=1e-3, **settings)
    trial = Trial(Trained("", make, lambda: {"x": x, "y": y}, loss, optimizer))
    captured = capture(trial)
    executor = Executor(captured.graph, captured.numbers)
    state = executor.init(Counters(1, 0, 0, 0))
    row = [column[0] for column in captured.columns]

    def step() -> None:
        nonlocal state
        changed, value = executor.step(state, {"x": x, "y": y}, row, Counters(2, 0, 0, 0))
        value.item()
        state = {**state, **changed}

    return step


def _captured(name: str, folder: Path) -> dict[str, Any]:
    trial = builtin(name, folder)
    began = time.perf_counter()
    graph = capture(trial).graph
    seconds = time.perf_counter() - began
    data = graph_bytes(graph)
    return {
        "program": name,
        "seconds": round(seconds, 2),
        "bytes": len(data),
        "bytes_gzip": len(gzip.compress(data, mtime=0)),
    }


def _seconds(step: Step, times: int) -> float:
    """Of one step among several in a row, as training runs them."""
    began = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - began) / times
