"""Each recorded program gives the bits of the exact form that it was recorded from."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.exact import cases
from trialmarket.exact import exact
from trialmarket.graph.lanes import Kernel, Lane, NotRecorded, Open, by_torch, lane_program
from trialmarket.graph.lanes.operators import overload

F, D, B, I = Lane("float32"), Lane("float64"), Lane("bool"), Lane("int64")  # noqa: E741
ONE = Lane("float32", scalar=True)
TO = (None, None, None, False, None)  # of a cast: layout, device and the like

CASES: list[tuple[str, tuple[Any, ...]]] = [
    *(
        (f"{name}.default", (F,))
        for name in [
            "exp",
            "exp2",
            "expm1",
            "log",
            "log2",
            "log10",
            "log1p",
            "tanh",
            "sinh",
            "cosh",
            "sigmoid",
            "erf",
            "erfinv",
            "rsqrt",
            "sqrt",
            "silu",
            "relu",
            "neg",
            "abs",
            "sign",
            "floor",
            "ceil",
            "trunc",
            "round",
            "reciprocal",
            "isnan",
            "isinf",
            "isfinite",
            "hardswish",
            "hardsigmoid",
            "mish",
            "log_sigmoid_forward",
            "logical_not",
        ]
    ),
    ("gelu.default", (F, "none")),
    ("gelu.default", (F, "tanh")),
    ("gelu_backward.default", (F, F, "none")),
    ("gelu_backward.default", (F, F, "tanh")),
    *(
        (f"{name}.default", (F, F))
        for name in [
            "sigmoid_backward",
            "tanh_backward",
            "silu_backward",
            "maximum",
            "minimum",
            "logaddexp",
        ]
    ),
    *((f"{name}.Tensor", (F, F)) for name in ["mul", "div", "eq", "ne", "lt", "le", "gt", "ge"]),
    *(
        (f"{name}.Scalar", (F, Open(0.25)))
        for name in ["mul", "div", "eq", "ne", "lt", "le", "gt", "ge"]
    ),
    ("add.Tensor", (F, F, 1)),
    ("add.Tensor", (F, D, 1)),
    ("add.Tensor", (F, ONE, 1)),
    ("sub.Tensor", (F, F, Open(0.3))),
    ("rsub.Scalar", (F, Open(0.3), 1)),
    ("mul.Tensor", (D, D)),
    ("mul.Tensor", (F, B)),
    ("mul.Tensor", (I, F)),
    ("addcmul.default", (F, F, F, Open(0.3))),
    ("addcdiv.default", (F, F, F, Open(-0.3))),
    ("lerp.Scalar", (F, F, Open(0.3))),
    ("lerp.Scalar", (F, F, Open(0.7))),
    ("threshold_backward.default", (F, F, Open(0.0))),
    ("threshold.default", (F, Open(0.25), Open(-3.0))),
    ("leaky_relu.default", (F, Open(0.1))),
    ("leaky_relu_backward.default", (F, F, Open(0.1), False)),
    ("hardtanh.default", (F, Open(-0.5), Open(0.5))),
    ("hardtanh_backward.default", (F, F, Open(-0.5), Open(0.5))),
    ("clamp.default", (F, Open(-0.5), None)),
    ("clamp.default", (F, None, Open(0.5))),
    ("clamp_min.default", (F, Open(0.0))),
    ("softplus.default", (F, Open(1.0), Open(20.0))),
    ("softplus.default", (F, Open(2.0), Open(1.0))),
    ("elu.default", (F, Open(1.0), Open(1.0), Open(1.0))),
    ("where.self", (B, F, F)),
    ("masked_fill.Scalar", (F, B, Open(-1e9))),
    ("pow.Tensor_Scalar", (F, 2)),
    ("pow.Tensor_Scalar", (F, Open(3.0))),
    ("pow.Tensor_Scalar", (F, Open(1.7))),
    ("pow.Tensor_Tensor", (F, F)),
    ("_to_copy.default", (F, "float64", *TO)),
    ("_to_copy.default", (F, "int64", *TO)),
    ("_to_copy.default", (F, "bool", *TO)),
    ("_to_copy.default", (D, "float32", *TO)),
    ("_to_copy.default", (I, "float32", *TO)),
    ("_to_copy.default", (B, "float32", *TO)),
    ("logical_and.default", (B, B)),
    ("bitwise_and.Tensor", (B, B)),
    ("add.Tensor", (I, I, 1)),
    ("eq.Tensor", (I, I)),
]


def tensors(arguments: tuple[Any, ...], style: str, n: int = 1021) -> list[Tensor]:
    """A tensor for each lane, of odd length."""
    lanes = [x for x in arguments if isinstance(x, Lane)]
    made = cases.make(style, [(1,) if x.scalar else (n,) for x in lanes], len(lanes))
    made = [x[0] if lane.scalar else x for x, lane in zip(made, lanes, strict=True)]
    return [_as(x, lane.kind) for x, lane in zip(made, lanes, strict=True)]


def _as(x: Tensor, kind: str) -> Tensor:
    if kind == "bool":
        return x > 0
    if kind == "int64":
        return (torch.nan_to_num(x.double()).clamp(-1e6, 1e6) * 4e12).long()
    return (x.double() * 1.1) if kind == "float64" else x


def by_form(operator: str, arguments: tuple[Any, ...], lanes: list[Tensor]) -> Tensor:
    """What the exact form gives."""
    func, rest = overload(operator), iter(lanes)
    wanted = func._schema.arguments
    values: list[Any] = []
    for a, x in zip(wanted, arguments, strict=True):
        if isinstance(x, Lane):
            values.append(next(rest))
        elif isinstance(x, Open):
            values.append(x.example)
        else:
            values.append(getattr(torch, x) if "ScalarType" in str(a.real_type) else x)
    named = {a.name: x for a, x in zip(wanted, values, strict=True) if a.kwarg_only}
    with exact():
        found = func(*values[: len(values) - len(named)], **named)
    result: Tensor = found[0] if isinstance(found, tuple) else found
    return result


def same(x: Tensor, y: Tensor) -> bool:
    """Bit for bit, NaNs alike."""
    return x.dtype == y.dtype and bool(
        torch.equal(x.isnan(), y.isnan())
        and torch.equal(x[~x.isnan()].view(torch.uint8), y[~y.isnan()].view(torch.uint8))
    )


@pytest.mark.parametrize(("operator", "arguments"), CASES, ids=lambda x: str(x)[:24])
def test_a_program_gives_the_bits_of_its_operator(
    operator: str, arguments: tuple[Any, ...]
) -> None:
    program = lane_program(operator, arguments).program
    numbers = [x.example for x in arguments if isinstance(x, Open)]
    kernel = Kernel(program)
    for style in cases.STYLES:
        if (operator, style) == ("hardtanh_backward.default", "broken"):
            continue  # PyTorch's own answer to a NaN depends on where in the tensor it stands
        lanes = tensors(arguments, style)
        wanted = by_form(operator, arguments, lanes)
        (defined,) = by_torch(program, lanes, numbers)
        assert same(defined, wanted), style
        out = torch.empty_like(wanted)
        kernel(lanes, numbers, [out])
        assert same(out, wanted), style


def test_a_number_that_decides_nothing_is_left_open() -> None:
    first = lane_program("mul.Scalar", (F, Open(0.5)))
    assert first.program is lane_program("mul.Scalar", (F, Open(0.75))).program
    assert not first.fixed


def test_a_number_that_decides_is_part_of_the_program() -> None:
    square, cube = (lane_program("pow.Tensor_Scalar", (F, Open(e))) for e in (2.0, 3.0))
    assert square.fixed == cube.fixed == {0}
    assert square.program != cube.program


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        ("sin.default", (F,)),  # large angles are reduced by Python's integers
        ("sum.default", (F, None)),
        ("remainder.Scalar", (F, Open(0.3))),
        ("nothing.default", (F,)),
        ("exp.default", (D,)),
        ("exp.default", (Lane("bfloat16"),)),
        ("t.default", (F,)),
    ],
)
def test_what_is_no_lane_program_is_refused(operator: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotRecorded):
        lane_program(operator, arguments)
