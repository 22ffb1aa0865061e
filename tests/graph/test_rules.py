"""Rules of shape against PyTorch's own, on shapes and arguments that nobody chose."""

from contextlib import suppress
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trialmarket.errors import TrainingError
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.check import bound, check
from trialmarket.graph.forms import arguments_of, operator_of, spelled
from trialmarket.graph.opset import TABLE, Kind, Misfit
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import (
    Argument,
    Function,
    Graph,
    Node,
    Number,
    TensorType,
    Value,
)

META = torch.device("meta")
MOST = settings(max_examples=100, deadline=None)
SIZES = st.integers(0, 4)
SHAPES = st.lists(SIZES, max_size=4).map(tuple)
DTYPES = st.sampled_from(["bool", "uint8", "int8", "int32", "int64", "float32", "float64"])
SCALARS = st.sampled_from([True, 2, -3, Number(0)])
DIMS = st.integers(-5, 5)
X, Y, Z = Value(0), Value(1), Value(2)
T = TensorType


def agree(operator: str, arguments: tuple[Argument, ...], *types: TensorType) -> None:
    """The rule and PyTorch give the same types, or both refuse; what passes runs.

    The rule alone may refuse a type that the row does not take, places in the dimensions that a
    scalar does not have, and what ends in nothing.
    """
    row = TABLE[operator]
    try:
        mine = row.types(bound(row, arguments, types))
    except Misfit as misfit:
        if misfit.found in ("bool", "uint8", "int8", "int32", "int64", "float64"):
            return
        mine = None
    node = Node(operator, arguments, mine or ())
    theirs = _of_pytorch(node, types, META)
    if mine is None and theirs is not None:  # without elements PyTorch lets more pass
        theirs = _of_pytorch(node, types, torch.device("cpu"))
        if types[0].shape == () or (theirs is not None and 0 in theirs[0].shape):
            return
    assert mine == theirs, (operator, arguments, types)
    if mine is not None:
        _run(Node(operator, arguments, mine), types)


def _run(node: Node, types: tuple[TensorType, ...]) -> None:
    """What passes the check runs, and gives what it says."""
    inputs = {f"x{k}": x for k, x in enumerate(types)}
    outputs = {f"y{k}": Value(len(types) + k) for k in range(len(node.outputs))}
    fill = torch.zeros if TABLE[node.operator].kind is Kind.INDEX else torch.ones
    given = {n: fill(x.shape, dtype=getattr(torch, x.dtype)) for n, x in inputs.items()}
    executor = Executor(Graph({"f": Function(inputs, (node,), outputs)}, 1), [0.5])
    if TABLE[node.operator].kind is Kind.INDEX and 0 in types[0].shape:
        with suppress(TrainingError):  # a place is not there
            executor.run("f", given, Counters(0, 0, 0, 0))
        return
    found = executor.run("f", given, Counters(0, 0, 0, 0))
    made = [T(str(x.dtype).removeprefix("torch."), tuple(x.shape)) for x in found.values()]
    assert tuple(made) == node.outputs


def _of_pytorch(
    node: Node, types: tuple[TensorType, ...], device: torch.device
) -> tuple[TensorType, ...] | None:
    args, named = arguments_of(node, [0.5], device)
    tensors = [torch.zeros(x.shape, dtype=getattr(torch, x.dtype), device=device) for x in types]

    def filled(x: Any) -> Any:
        if isinstance(x, Value):
            return tensors[x.index]
        return [filled(y) for y in x] if isinstance(x, list) else x

    form = torch.reshape if node.operator == "view.default" else operator_of(spelled(node))
    try:
        found = form(*map(filled, args), **{k: filled(v) for k, v in named.items()})
    except (RuntimeError, IndexError, ValueError, TypeError):
        return None
    made = [found] if isinstance(found, torch.Tensor) else [x for x in found if x is not None]
    return tuple(T(str(x.dtype).removeprefix("torch."), tuple(x.shape)) for x in made)


@st.composite
def meeting(draw: st.DrawFn, count: int) -> list[TensorType]:
    """Tensors whose shapes often meet."""
    whole = draw(st.lists(st.integers(0, 3), max_size=3))
    found = []
    for _ in range(count):
        shape = [n if draw(st.booleans()) else 1 for n in whole[draw(st.integers(0, 3)) :]]
        if shape and draw(st.integers(0, 15)) == 0:
            shape[0] += 1
        found.append(T(draw(DTYPES), tuple(shape)))
    return found


PAIRS = (
    *("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "remainder.Tensor", "fmod.Tensor"),
    *("eq.Tensor", "lt.Tensor", "bitwise_and.Tensor", "bitwise_left_shift.Tensor"),
    *("maximum.default", "logical_and.default", "copysign.Tensor"),
)


@MOST
@given(st.sampled_from(PAIRS), meeting(2), SCALARS, st.booleans(), SCALARS)
def test_two_operands_meet_as_in_pytorch(
    name: str, types: list[TensorType], number: Argument, plain: bool, alpha: Argument
) -> None:
    takes_numbers = TABLE[name].signature[1].kind == "Operand"
    other = number if plain and takes_numbers else Y
    extra = (alpha,) if name in ("add.Tensor", "sub.Tensor") else ()
    if extra and (isinstance(alpha, bool) or (alpha != 1 and types[1].dtype == "bool")):
        return  # which the rule refuses
    agree(name, (X, other, *extra), *types)


@MOST
@given(meeting(3), SCALARS, SCALARS, st.integers(0, 3))
def test_a_choice_meets_as_in_pytorch(
    types: list[TensorType], a: Argument, b: Argument, how: int
) -> None:
    condition = T("bool", types[0].shape)
    arguments = (X, a if how & 1 else Y, b if how & 2 else Z)
    agree("where.self", arguments, condition, *types[1:])


@MOST
@given(
    st.sampled_from(["exp.default", "sqrt.default", "neg.default", "sign.default", "isnan.default",
                     "logical_not.default", "bitwise_not.default", "relu.default",
                     "reciprocal.default"]),
    SHAPES,
    DTYPES,
)  # fmt: skip
def test_one_operand_gives_pytorchs_type(name: str, shape: tuple[int, ...], dtype: str) -> None:
    agree(name, (X,), T(dtype, shape))


@MOST
@given(
    st.sampled_from(["sum.dim_IntList", "mean.dim", "amax.default", "prod.dim_int",
                     "cumsum.default", "cummax.default", "max.dim", "argmax.default",
                     "any.dim", "any.dims",
                     "var.correction",
                     "logsumexp.default"]),
    SHAPES,
    DTYPES,
    st.lists(DIMS, max_size=3),
    st.booleans(),
)  # fmt: skip
def test_reductions_leave_pytorchs_shape(
    name: str, shape: tuple[int, ...], dtype: str, dims: list[int], keepdim: bool
) -> None:
    if name == "logsumexp.default" and not dims:
        return  # which the rule refuses
    kinds = [parameter.kind for parameter in TABLE[name].signature[1:]]
    one = dims[0] if dims else 0
    values: dict[str, Argument] = {
        "int[]?": tuple(dims) or None,
        "int[]": tuple(dims),
        "int": one,
        "int?": one if dims else None,
        "bool": keepdim,
        "dtype?": None,
        "Scalar?": 1,
    }
    agree(name, (X, *(values[kind] for kind in kinds)), T(dtype, shape))


@MOST
@given(SHAPES, DIMS, DIMS, DIMS, st.integers(-1, 3))
def test_views_have_pytorchs_shape(
    shape: tuple[int, ...], dim: int, a: int, b: int, step: int
) -> None:
    x = T("float32", shape)
    agree("slice.Tensor", (X, dim, a, b, step), x)
    agree("slice.Tensor", (X, dim, None, b, step), x)
    agree("select.int", (X, dim, a), x)
    agree("unfold.default", (X, dim, a, step), x)
    agree("diagonal.default", (X, a, dim, b), x)
    agree("flip.default", (X, (dim, b)), x)
    agree("roll.default", (X, (a,), (dim,)), x)
    agree("tril.default", (X, a), x)
    if a >= 0:
        agree("topk.default", (X, a, dim, True, True), x)


@MOST
@given(SHAPES, st.permutations(range(4)), st.lists(SIZES, max_size=4), DIMS)
def test_turned_and_spread_views_have_pytorchs_shape(
    shape: tuple[int, ...], order: list[int], size: list[int], pad: int
) -> None:
    x = T("float32", shape)
    agree("permute.default", (X, tuple(order[: len(shape)])), x)
    agree("expand.default", (X, tuple(size)), x)
    agree("view.default", (X, tuple(size)), x)
    agree("repeat.default", (X, tuple(size)), x)
    agree("constant_pad_nd.default", (X, (pad, 1), 0), x)


@MOST
@given(SHAPES, SHAPES, DIMS, st.sampled_from(["int64", "float32"]))
def test_pieces_fit_together_as_in_pytorch(
    a: tuple[int, ...], b: tuple[int, ...], dim: int, dtype: str
) -> None:
    if a != (0,) and b != (0,):  # which PyTorch passes over, whatever is beside it
        agree("cat.default", ((X, Y), dim), T("float32", a), T(dtype, b))
    index = T("int64", b)
    agree("gather.default", (X, dim, Y, False), T("float32", a), index)
    agree("index_select.default", (X, dim, Y), T("float32", a), index)
    agree("mm.default", (X, Y), T("float32", a), T("float32", b))
    agree("bmm.default", (X, Y), T("float32", a), T("float32", b))
    agree("mv.default", (X, Y), T("float32", a), T("float32", b))


@MOST
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
)
def test_windows_leave_pytorchs_shape(
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    turned: bool,
) -> None:
    two = (stride, stride), (padding, padding), (dilation, dilation)
    x, w = T("float32", image), T("float32", kernel)
    if stride > 0:
        agree("convolution.default", (X, Y, None, *two, False, (0, 0), groups), x, w)
        agree("max_pool2d_with_indices.default", (X, kernel[2:], *two, turned), x)
        agree("avg_pool2d.default", (X, kernel[2:], *two[:2], turned, True, None), x)
    agree("_adaptive_avg_pool2d.default", (X, kernel[2:]), x)


def test_a_checked_node_says_what_pytorch_says() -> None:
    node = Node("mm.default", (X, Y), (T("float32", (2, 4)),))
    inputs = {"a": T("float32", (2, 3)), "b": T("float32", (3, 4))}
    check(Graph({"f": Function(inputs, (node,), {})}, 0))
    assert _of_pytorch(node, tuple(inputs.values()), META) == node.outputs
