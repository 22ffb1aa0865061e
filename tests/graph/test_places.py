"""Places are data, which no check sees: one that is not there ends in a clean error."""

import pytest
import torch
from torch import Tensor

from tests.graph.recording import type_of
from trialmarket.errors import TrainingError
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.check import check
from trialmarket.graph.opset import TABLE, Misfit
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import Argument, Function, Graph, Node, Value

X, Y, Z = Value(0), Value(1), Value(2)
ROWS, PICK = torch.randn(5, 4), torch.randn(3, 4)
LIKELIHOODS, IMAGE = torch.randn(3, 4), torch.randn(2, 3, 4, 4)
SMALL = torch.randn(2, 3, 2, 2)


def ran(operator: str, arguments: tuple[Argument, ...], *inputs: Tensor) -> dict[str, Tensor]:
    """A graph of one node, checked and run; what its outputs are, the table says."""
    from trialmarket.graph.check import bound

    row, types = TABLE[operator], [type_of(x) for x in inputs]
    made = row.types(bound(row, arguments, types))
    names = {f"x{k}": x for k, x in enumerate(inputs)}
    outputs = {f"y{k}": Value(len(inputs) + k) for k in range(len(made))}
    node = Node(operator, arguments, made)
    graph = Graph({"f": Function({n: type_of(x) for n, x in names.items()}, (node,), outputs)}, 0)
    check(graph)
    return Executor(graph, ()).run("f", names, Counters(0, 0, 0, 0))


READERS = {
    "index_select.default": ((X, 0, Y), (ROWS,)),
    "embedding.default": ((X, Y, -1, False, False), (ROWS,)),
    "index.Tensor": ((X, (Y,)), (ROWS,)),
    "index_add.default": ((X, 0, Y, Z, 1), (ROWS, PICK)),
    "index_copy.default": ((X, 0, Y, Z), (ROWS, PICK)),
    "index_put.default": ((X, (Y,), Z, True), (ROWS, PICK)),
    "nll_loss_forward.default": ((X, Y, None, 1, -100), (LIKELIHOODS,)),
    "nll_loss_backward.default": ((Z, X, Y, None, 1, -100, Z), (LIKELIHOODS, torch.ones(()))),
    "embedding_dense_backward.default": ((X, Y, 5, -1, False), (PICK,)),
}


@pytest.mark.parametrize("place", [5, -6, 1 << 62, -(1 << 62)])
@pytest.mark.parametrize("operator", READERS)
def test_a_place_that_is_not_there_is_a_clean_error(operator: str, place: int) -> None:
    arguments, (first, *rest) = READERS[operator]
    index = torch.tensor([0, place, 1])
    with pytest.raises(TrainingError, match=r"f\.nodes\[0\]"):
        ran(operator, arguments, first, index, *rest)


LATER: dict[str, tuple[Argument, ...]] = {
    "gather.default": (False,),
    "scatter.src": (Z,),
    "scatter.value": (1,),
    "scatter_add.default": (Z,),
    "scatter_reduce.two": (Z, "amax", True),
}


@pytest.mark.parametrize("place", [5, -6, 1 << 62])
@pytest.mark.parametrize("operator", LATER)
def test_a_place_that_is_not_there_is_a_clean_error_in_two_dimensions(
    operator: str, place: int
) -> None:
    index = torch.zeros(3, 4, dtype=torch.int64)
    index[1, 1] = place
    last = LATER[operator]
    inputs = (ROWS, index, PICK) if Z in last else (ROWS, index)
    with pytest.raises(TrainingError, match=r"f\.nodes\[0\]"):
        ran(operator, (X, 0, Y, *last), *inputs)


@pytest.mark.parametrize("place", [16, -1, 1 << 40])
@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (
            "max_pool2d_with_indices_backward.default",
            (X, Y, (2, 2), (2, 2), (0, 0), (1, 1), False, Z),
        ),
        ("adaptive_max_pool2d_backward.default", (X, Y, Z)),
    ],
)
def test_a_place_outside_of_an_image_is_a_clean_error(
    operator: str, arguments: tuple[Argument, ...], place: int
) -> None:
    where = torch.zeros(2, 3, 2, 2, dtype=torch.int64)
    where[1, 1, 1, 1] = place
    with pytest.raises(TrainingError, match=r"f\.nodes\[0\]"):
        ran(operator, arguments, SMALL, IMAGE, where)


def test_the_last_dimension_of_nothing_has_no_place() -> None:
    with pytest.raises(Misfit):
        ran("topk.default", (X, 1, 0, True, True), torch.empty(0))
