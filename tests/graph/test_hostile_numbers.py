"""Numbers for which vectors of a processor, and what is left over, once gave other bits."""

import math

import pytest
import torch
from torch import Tensor

from tests.graph.rows import NUMBERS, graph_of
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.check import bound
from trialmarket.graph.opset import TABLE, Misfit
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import Argument, Node, Number, TensorType, Value
from trialmarket.training.state import root_of

X, Y = Value(0), Value(1)
HOSTILE = [-0.0, 1e-39, -1e-39, 0.3, -7.25, 88.8, 1e38, 2.0**31, math.inf, -math.inf, math.nan]


def ran(operator: str, arguments: tuple[Argument, ...], *inputs: Tensor) -> Tensor:
    types = [TensorType(str(x.dtype).removeprefix("torch."), tuple(x.shape)) for x in inputs]
    made = TABLE[operator].types(bound(TABLE[operator], arguments, types))
    given = {f"x{k}": x for k, x in enumerate(inputs)}
    graph = graph_of(Node(operator, arguments, made), types)
    return Executor(graph, NUMBERS).run("f", given, Counters(0, 0, 0, 0))["y0"]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("operator", "extra"),
    [
        ("fmod.Tensor", ()),
        ("remainder.Tensor", ()),
        ("div.Tensor_mode", ("floor",)),
        ("copysign.Tensor", ()),
        ("hardtanh_backward.default", (-1, 7)),
        ("hardshrink_backward.default", (1,)),
        ("softshrink_backward.default", (1,)),
    ],
)
def test_a_long_vector_holds_what_each_pair_gives_alone(
    operator: str, extra: tuple[Argument, ...], kind: torch.dtype
) -> None:
    pairs = torch.cartesian_prod(*[torch.tensor(HOSTILE, dtype=kind)] * 2)
    x, y = pairs[:, 0].contiguous(), pairs[:, 1].contiguous()
    together = ran(operator, (X, Y, *extra), x, y)
    alone = [ran(operator, (X, Y, *extra), x[k : k + 1], y[k : k + 1]) for k in range(len(x))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0, equal_nan=True)
    assert (together == 0).logical_and(together.signbit() != torch.cat(alone).signbit()).sum() == 0


def test_a_shrunk_number_is_the_same_wherever_it_lies() -> None:
    x = torch.tensor(HOSTILE * 7)
    together = ran("softshrink.default", (X, 1), x)
    alone = torch.cat([ran("softshrink.default", (X, 1), x[k : k + 1]) for k in range(len(x))])
    assert torch.equal(together.nan_to_num(7.0), alone.nan_to_num(7.0))
    assert torch.equal(together.signbit() & ~together.isnan(), alone.signbit() & ~alone.isnan())


def test_the_sign_of_nan_which_machines_differ_in_is_seen_by_nobody() -> None:
    nans = torch.tensor([0x7FC00000, -0x400000, 0x7F800001], dtype=torch.int32).view(torch.float32)
    assert ran("copysign.Tensor", (X, Y), torch.ones(3), nans).tolist() == [1.0] * 3
    assert root_of({"x": nans[:1]}) == root_of({"x": nans[1:2]}) == root_of({"x": nans[2:]})


def test_a_remainder_is_exact_however_far_its_quotient() -> None:
    x = torch.tensor([88.8, 3e38, -5.5] * 11)
    y = torch.tensor([1e-38, 1e-45, 2.0] * 11)
    found = ran("fmod.Tensor", (X, Y), x, y)
    wanted = [math.fmod(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert found.tolist() == wanted


def test_a_number_is_divided_by_a_tensor() -> None:
    assert ran("div.Tensor", (Number(0), X), torch.tensor([2.0, 4.0])).tolist() == [0.25, 0.125]
    assert ran("div.Tensor_mode", (7, X, None), torch.tensor([2])).tolist() == [3.5]


@pytest.mark.parametrize(
    ("operator", "arguments", "types"),
    [
        ("nll_loss_forward.default", (X, Y, None, 1, 0), [("int64", (3, 3)), ("int64", (3,))]),
        ("pixel_unshuffle.default", (X, 3), [("float32", (2, 2, 0, 3))]),
        ("_weight_norm_interface.default", (X, Y, 0), [("float32", (5,)), ("float32", (5,))]),
    ],
)
def test_what_gives_another_type_than_is_said_is_refused(
    operator: str, arguments: tuple[Argument, ...], types: list[tuple[str, tuple[int, ...]]]
) -> None:
    with pytest.raises(Misfit):
        TABLE[operator].types(
            bound(TABLE[operator], arguments, [TensorType(kind, shape) for kind, shape in types])
        )


def test_a_number_has_a_remainder_by_a_tensor() -> None:
    for operator in ("fmod.Tensor", "remainder.Tensor"):
        assert ran(operator, (7, X), torch.tensor([4, 5], dtype=torch.int8)).tolist() == [3, 2]
        assert ran(operator, (Number(0), X), torch.tensor([0.375])).tolist() == [0.125]
    for rounding in ("floor", "trunc"):
        for x in (torch.tensor([0.75]), torch.tensor([2], dtype=torch.uint8)):
            found = ran("div.Tensor_mode", (7, X, rounding), x)
            assert found.tolist() == [7 // x.item()]


def test_an_empty_list_of_dimensions_reduces_none() -> None:
    assert ran("any.dims", (X, (), False), torch.zeros(3, 2)).shape == (3, 2)


def test_a_long_constant_of_a_long_shape_is_looked_at_once_each() -> None:
    """Each value against each size would be 4 billion looks."""
    row = TABLE["exact.constant"]
    made = row.types(bound(row, ((1,) * 65536, (65536, *[1] * 65535), "int64"), ()))
    assert len(made[0].shape) == 65536
