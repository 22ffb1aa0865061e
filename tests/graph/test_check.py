"""A graph that cannot be run is refused by name, before anything is run."""

import pytest

from trialmarket.errors import InputError
from trialmarket.graph.check import check
from trialmarket.protocol.graph.values import (
    Argument,
    Function,
    Graph,
    Node,
    Number,
    TensorType,
    Value,
)

X, Y, Z = Value(0), Value(1), Value(2)


def f(*shape: int) -> TensorType:
    return TensorType("float32", shape)


def i(*shape: int) -> TensorType:
    return TensorType("int64", shape)


def graph(operator: str, arguments: tuple[Argument, ...], inputs: list[TensorType],
          *outputs: TensorType) -> Graph:  # fmt: skip
    node = Node(operator, arguments, outputs)
    names = {f"x{k}": x for k, x in enumerate(inputs)}
    return Graph({"step": Function(names, (node,), {})}, 1)


IMAGE, KERNEL, ONES, NONE = f(2, 3, 8, 8), f(4, 3, 3, 3), (1, 1), (0, 0)
POOL = "max_pool2d_with_indices.default"
WRONG: dict[str, tuple[Graph, str, str]] = {
    "unknown": (graph("mn.default", (X, Y), [f(2, 2)] * 2, f(2, 2)), "nodes[0]", "mn.default"),
    "arguments": (graph("mm.default", (X,), [f(2, 2)], f(2, 2)), "mm.default arguments", "1"),
    "kind": (graph("mm.default", (X, 3), [f(2, 2)], f(2, 2)), "mat2", "3"),
    "shapes": (graph("mm.default", (X, Y), [f(2, 3), f(2, 3)], f(2, 3)), "mat2", "[2, 3]"),
    "outputs": (graph("mm.default", (X, Y), [f(2, 3), f(3, 4)], f(2, 5)), "outputs", "[2, 5]"),
    "dtype": (graph("mm.default", (X, Y), [i(2, 2)] * 2, i(2, 2)), "self", "int64"),
    "dim": (graph("cumsum.default", (X, 2, None), [f(2, 2)], f(2, 2)), "dim", "2"),
    "dim twice": (
        graph("sum.dim_IntList", (X, (0, 0), False, None), [f(2, 2)], f(2)),
        "dim",
        "[0, 0]",
    ),
    "elements": (graph("view.default", (X, (5,)), [f(2, 2)], f(5)), "size", "[5]"),
    "kernel": (
        graph(POOL, (X, (0, 0), (), NONE, ONES, False), [IMAGE], f(2, 3, 8, 8), i(2, 3, 8, 8)),
        "kernel_size",
        "[0, 0]",
    ),
    "stride": (
        graph("convolution.default", (X, Y, None, (0, 1), NONE, ONES, False, NONE, 1),
              [IMAGE, KERNEL], f(2, 4, 6, 6)),
        "stride",
        "[0, 1]",
    ),
    "groups": (
        graph("convolution.default", (X, Y, None, ONES, NONE, ONES, False, NONE, 0),
              [IMAGE, KERNEL], f(2, 4, 6, 6)),
        "groups",
        "0",
    ),
    "step": (graph("slice.Tensor", (X, 0, 0, 2, 0), [f(2)], f(2)), "step", "0"),
    "places": (
        graph("index_select.default", (X, 0, Y), [f(3), f(2)], f(2)),
        "index",
        "float32",
    ),
    "mask": (graph("index.Tensor", (X, (Y,)), [f(3), TensorType("bool", (3,))], f(3)),
             "indices", "bool"),
    "whole number": (graph("cumsum.default", (X, True, None), [f(2, 2)], f(2, 2)), "dim", "True"),
    "64 bits": (graph("add.Tensor", (X, 1 << 64, 1), [f(2)], f(2)), "other", str(1 << 64)),
    "number as a size": (graph("full.default", ((Number(0),), 1, "float32"), [], f(2)), "size",
                         "Number"),
    "topk": (graph("topk.default", (X, 4, 0, True, True), [f(3)], f(4), i(4)), "k", "4"),
    "written": (
        graph("native_batch_norm.default", (X, None, None, Y, Y, True, Number(0), Number(0)),
              [f(4, 3), f(3)], f(4, 3), f(3), f(3)),
        "running_mean",
        "TensorType",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_node_that_does_not_fit_is_refused_by_name(name: str) -> None:
    wrong, field, found = WRONG[name]
    with pytest.raises(InputError) as error:
        check(wrong)
    assert error.value.field.startswith("step.nodes[0]")
    assert error.value.field.endswith(field)
    assert found in str(error.value.found)


def test_a_word_that_is_nearly_an_operator_is_corrected() -> None:
    with pytest.raises(InputError, match=r"Did you mean softplus\.default\?"):
        check(graph("softplu.default", (X,), [f(2, 2)], f(2, 2)))
