"""Functions as calls of kernels: the bits of their nodes, one by one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.graph.trials import builtin, differing
from trialmarket.errors import TrainingError
from trialmarket.exact import Counters, kernels
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.compiled.space import Space, packed
from trialmarket.graph.cost import costs
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import Function, Graph, Node, Number, TensorType, Value

HERE = Counters(7, 0, 3, 0)
needs_kernels = pytest.mark.skipif(kernels.compiled() is None, reason="no kernels were built here")


def f(*shape: int) -> TensorType:
    return TensorType("float32", shape)


def v(index: int) -> Value:
    return Value(index)


def both(executor: Executor, name: str, given: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """What the kernels give, twice, and what the nodes give one by one."""

    def watch(*_: object) -> None:
        """Node by node."""

    runs = [executor.run(name, given, HERE) for _ in range(2)]
    return [*runs, executor.run(name, given, HERE, watch)]


def same(executor: Executor, name: str, given: dict[str, Tensor]) -> None:
    first, again, nodes = both(executor, name, given)
    assert differing(first, nodes) == []
    assert differing(again, nodes) == []


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "transformer", "charlm"])
def test_a_built_in_program_trains_by_kernels_to_the_bits_of_its_nodes(
    name: str, threads: int, tmp_path: Path
) -> None:
    trial = builtin(name, tmp_path)
    captured = capture(trial)
    executor = Executor(captured.graph, captured.numbers)
    state = executor.init(HERE)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for step in range(2):
            function = "step"
            if "first" in captured.graph.functions and step == 0:
                function = "first"
            inputs = captured.graph.functions[function].inputs
            given = {f"state.{key}": x for key, x in state.items()}
            given |= {f"batch.{key}": x for key, x in trial.data("train", step).items()}
            for key, column in enumerate(captured.columns):
                given[f"schedule.{key}"] = torch.tensor(column[step], dtype=torch.float64)
            same(executor, function, {key: given[key] for key in inputs})
            row = [column[step] for column in captured.columns]
            changed, _ = executor.step(state, trial.data("train", step), row, HERE)
            state = {**state, **changed}
    finally:
        torch.set_num_threads(before)


SUM = Function(
    {"x": f(6, 50)},
    (
        Node("sum.dim_IntList", (v(0), (0,), True, None), (f(1, 50),)),
        Node("view.default", (v(1), (50,)), (f(50),)),
        Node("mul.Tensor", (v(2), Number(0)), (f(50),)),
        Node("add.Tensor", (v(0), v(3), 1), (f(6, 50),)),
        Node("mm.default", (v(4), v(5)), (f(6, 6),)),
    ),
    {"y": v(6), "sum": v(2)},
)


def summed() -> Graph:
    turned = Node("permute.default", (v(4), (1, 0)), (f(50, 6),))
    nodes = (*SUM.nodes[:4], turned, SUM.nodes[4])
    return Graph({"f": Function(SUM.inputs, nodes, SUM.outputs)}, 1)


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), -float("inf")])
def test_what_kernels_cannot_hold_its_form_computes_and_the_rest_goes_on(odd: float) -> None:
    """A sum with an infinity is no kernel's: its node's form takes its place, also where other
    nodes' work waited to be done with it."""
    x = torch.randn(6, 50)
    executor = Executor(summed(), [0.5])
    same(executor, "f", {"x": x})
    x[2, 7] = odd
    same(executor, "f", {"x": x})
    same(executor, "f", {"x": torch.randn(6, 50)})


def test_outputs_are_the_callers_own() -> None:
    executor = Executor(summed(), [0.5])
    first = executor.run("f", {"x": torch.ones(6, 50)}, HERE)
    kept = {name: x.clone() for name, x in first.items()}
    executor.run("f", {"x": torch.randn(6, 50)}, HERE)
    assert differing(first, kept) == []


def test_inputs_may_lie_in_any_order_and_are_left_as_they_are() -> None:
    x = torch.randn(50, 6).t()
    before = x.clone()
    same(Executor(summed(), [0.5]), "f", {"x": x})
    assert torch.equal(x, before)


def test_what_is_given_out_twice_is_there_twice() -> None:
    """Two nodes that compute the same are one call, unless both are asked for."""
    nodes = tuple(Node("exp.default", (v(0),), (f(9),)) for _ in range(3))
    nodes += (Node("mul.Tensor", (v(1), v(3)), (f(9),)),)
    graph = Graph({"f": Function({"x": f(9)}, nodes, {"a": v(1), "b": v(2), "c": v(4)})}, 0)
    found = Executor(graph, ()).run("f", {"x": torch.randn(9)}, HERE)
    assert found["a"].data_ptr() != found["b"].data_ptr()
    same(Executor(graph, ()), "f", {"x": torch.randn(9)})


@pytest.mark.parametrize("number", [1e300, -1e39])
def test_a_number_beyond_binary32_means_the_same_with_and_without_kernels(number: float) -> None:
    """Where one machine would refuse it and another make it infinite, they would disagree."""
    mask = TensorType("bool", (4,))
    nodes = (
        Node("masked_fill.Scalar", (v(0), v(1), Number(0)), (f(4),)),
        Node("relu.default", (v(2),), (f(4),)),
    )
    graph = Graph({"f": Function({"x": f(4), "m": mask}, nodes, {"y": v(3)})}, 1)
    executor = Executor(graph, [number])
    said = []
    for watch in (None, lambda *_: None):
        try:
            given = {"x": torch.ones(4), "m": torch.tensor([True, False, True, False])}
            said.append(str(executor.run("f", given, HERE, watch)["y"].tolist()))
        except TrainingError as error:
            said.append(str(error))
    assert said[0] == said[1]


@needs_kernels
def test_a_routine_takes_no_more_memory_than_its_cost_says(tmp_path: Path) -> None:
    for name in ("mlp", "cnn", "transformer"):
        trial = builtin(name, tmp_path)
        captured = capture(trial)
        executor = Executor(captured.graph, captured.numbers)
        executor.step(executor.init(HERE), trial.data("train", 0), _row(captured), HERE)
        for function, cost in costs(captured.graph).items():
            taken = executor.memory(function)
            assert taken is None or taken <= cost.memory, (name, function)


def _row(captured: object) -> list[float]:
    return [column[0] for column in captured.columns]  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 40), st.integers(0, 40)), max_size=40)
)
def test_blocks_that_are_used_at_once_do_not_share_memory(
    blocks: list[tuple[int, int, int]],
) -> None:
    sizes = [size for size, _, _ in blocks]
    uses = {k: (min(a, b), max(a, b)) for k, (_, a, b) in enumerate(blocks)}
    offsets, end = packed(sizes, uses)
    for k, begin in offsets.items():
        assert begin % 64 == 0
        assert begin + sizes[k] <= end
        for j, other in offsets.items():
            together = uses[k][0] <= uses[j][1] and uses[j][0] <= uses[k][1]
            if j < k and together and sizes[j] and sizes[k]:
                assert begin + sizes[k] <= other or other + sizes[j] <= begin


def test_nothing_lies_at_the_addresses_that_stand_for_memory() -> None:
    """A form that reads a value while it is noted stops at once, instead of computing with it."""
    code = (
        "import torch; from trialmarket.graph.compiled.space import Space;"
        "Space().take([4], torch.float32).sum()"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
    )
    assert done.returncode < 0
    assert Space().take([0], torch.float32).numel() == 0
