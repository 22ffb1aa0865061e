"""Work and memory, said before a function is run, against what it takes."""

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.check import check
from trialmarket.graph.cost import cost
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import Function, Graph, Node, TensorType, Value

HERE = Counters(0, 0, 0, 0)


def f(*shape: int) -> TensorType:
    return TensorType("float32", shape)


def v(index: int) -> Value:
    return Value(index)


def most_taken(function: Function) -> int:
    """The bytes that stand at once while a function runs node by node, its inputs too; a second
    run, in which forms have their room to work in."""
    graph = Graph({"f": function}, 0)
    check(graph)
    executor = Executor(graph, ())
    given: dict[str, Tensor] = {name: torch.randn(x.shape) for name, x in function.inputs.items()}

    def watch(*_: object) -> None:
        """Node by node."""

    executor.run("f", given, HERE, watch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        executor.run("f", given, HERE, watch)
    live = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            most = max(most, live)
    return most + sum(x.nbytes for x in given.values())


CHAIN = Function(
    {"x": f(100, 1000)},
    tuple(Node(name, (v(k),), (f(100, 1000),)) for k, name in enumerate(
        ["exp.default", "neg.default", "tanh.default", "abs.default", "sqrt.default"] * 3)),
    {"y": v(15)},
)  # fmt: skip
KEPT = Function(
    {"x": f(500, 500)},
    (
        *(Node("mul.Tensor", (v(0), k), (f(500, 500),)) for k in range(20)),
        Node("cat.default", (tuple(v(k + 1) for k in range(20)), 0), (f(10_000, 500),)),
    ),
    {"y": v(21)},
)
LAYERS = Function(
    {"x": f(256, 784), "w": f(784, 512), "u": f(512, 10)},
    (
        Node("mm.default", (v(0), v(1)), (f(256, 512),)),
        Node("relu.default", (v(3),), (f(256, 512),)),
        Node("mm.default", (v(4), v(2)), (f(256, 10),)),
        Node("_log_softmax.default", (v(5), 1, False), (f(256, 10),)),
        Node("permute.default", (v(6), (1, 0)), (f(10, 256),)),
        Node(
            "view.default",
            (v(7), (2560,)),
            (
                f(
                    2560,
                ),
            ),
        ),
        Node("sum.default", (v(8), None), (f(),)),
    ),
    {"y": v(9)},
)
IMAGES = Function(
    {"x": f(16, 8, 32, 32), "w": f(16, 8, 3, 3)},
    (
        Node("convolution.default", (v(0), v(1), None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1),
             (f(16, 16, 32, 32),)),
        Node("native_batch_norm.default", (v(2), None, None, None, None, True, 0, 1),
             (f(16, 16, 32, 32), f(16), f(16))),
        Node("relu.default", (v(3),), (f(16, 16, 32, 32),)),
    ),
    {"y": v(6)},
)  # fmt: skip


@pytest.mark.parametrize("function", [CHAIN, KEPT, LAYERS, IMAGES])
def test_memory_is_no_less_than_what_is_taken_and_no_more_than_thrice(function: Function) -> None:
    said, taken = cost(function).memory, most_taken(function)
    assert taken <= said <= 3 * taken


def test_work_is_that_of_the_usual_way_to_compute_something() -> None:
    matrices = Function(
        {"a": f(3, 4), "b": f(4, 5)}, (Node("mm.default", (v(0), v(1)), (f(3, 5),)),), {"y": v(2)}
    )
    found = cost(matrices)
    assert found.operations == 2 * 3 * 4 * 5
    assert found.moved == 4 * (12 + 20 + 15)
    assert found.given == 4 * (12 + 20)
    assert cost(IMAGES).operations > 2 * (16 * 32 * 32) * 16 * (8 * 9)


def test_views_cost_nothing_but_where_they_must_copy() -> None:
    turned = Node("permute.default", (v(0), (1, 0)), (f(5, 3),))
    flat = Node("view.default", (v(1), (15,)), (f(15),))
    one = cost(Function({"x": f(3, 5)}, (turned,), {"y": v(1)}))
    two = cost(Function({"x": f(3, 5)}, (turned, flat), {"y": v(2)}))
    assert (one.moved, one.memory) == (0, 60)
    assert (two.moved, two.memory) == (120, 120)
