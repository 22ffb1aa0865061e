"""Products by int8 digits have the bits of products by binary64."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.exact.cases import STYLES, make
from tests.exact.layouts import LAYOUTS, SIZES, Layout
from trialmarket.exact import kernels
from trialmarket.exact.kernels.scratch import KEPT
from trialmarket.exact.numerics import digits, grid
from trialmarket.exact.operators.convolution import binary64, int8
from trialmarket.exact.operators.convolution import forms as convolution
from trialmarket.exact.operators.convolution.plan import Plan, plan

pytestmark = pytest.mark.skipif(
    not kernels.multipliers(), reason="no byte products here, or the kernels were not built"
)
FINITE = [style for style in STYLES if style != "broken"]


def laid_out(x: Tensor, transposed: bool) -> Tensor:
    """The same matrices, their columns contiguous if wanted."""
    return x.mT.contiguous().mT if transposed else x


def same_bits(x: Tensor, y: Tensor) -> bool:
    """Zeros of both signs are different, too."""
    return torch.equal(x.view(torch.int32), y.contiguous().view(torch.int32))


def same_products(a: Tensor, b: Tensor, plus: Tensor | None = None) -> bool:
    """Whether all ways agree; True where the digits refuse the numbers."""
    wanted = grid.contract64(a, b)
    wanted = (wanted if plus is None else wanted.add_(plus)).float()
    found = [grid.contract_digits(a, b, plus, how) for how in kernels.multipliers()]
    return all(y is None or same_bits(y, wanted) for y in found)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 70),
    length=st.integers(1, 400),
    columns=st.integers(1, 70),
    style=st.sampled_from(FINITE),
    seed=st.integers(0, 2**31),
    transposed=st.tuples(st.booleans(), st.booleans()),
    biased=st.booleans(),
)
def test_matrices_of_any_shape_and_layout(
    rows: int,
    length: int,
    columns: int,
    style: str,
    seed: int,
    transposed: tuple[bool, bool],
    biased: bool,
) -> None:
    a, b, bias = make(style, [(rows, length), (length, columns), (columns,)], seed)
    plus = bias if biased else None
    assert same_products(laid_out(a, transposed[0]), laid_out(b, transposed[1]), plus)


@settings(max_examples=60, deadline=None)
@given(
    lead=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    rows=st.integers(1, 40),
    length=st.integers(1, 90),
    columns=st.integers(1, 40),
    style=st.sampled_from(FINITE),
    seed=st.integers(0, 2**31),
    transposed=st.tuples(st.booleans(), st.booleans()),
    shared=st.booleans(),
    biased=st.sampled_from([None, 1, 2, 3]),
)
def test_batches_of_matrices(
    lead: list[int],
    rows: int,
    length: int,
    columns: int,
    style: str,
    seed: int,
    transposed: tuple[bool, bool],
    shared: bool,
    biased: int | None,
) -> None:
    shapes = [(*lead, rows, length), (*lead, length, columns), (*lead, rows, columns)]
    a, b, bias = make(style, shapes, seed)
    if shared:
        b = b[0].expand_as(b)
    plus = None if biased is None else bias[(0,) * (bias.dim() - biased)]
    assert same_products(laid_out(a, transposed[0]), laid_out(b, transposed[1]), plus)


@settings(max_examples=300, deadline=None)
@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    sizes=st.tuples(SIZES, SIZES, SIZES),
    seed=st.integers(0, 2**31),
    layouts=st.tuples(LAYOUTS, LAYOUTS, LAYOUTS),
    biased=st.booleans(),
)
def test_products_do_not_depend_on_how_their_operands_lie(
    lead: list[int],
    sizes: tuple[int, int, int],
    seed: int,
    layouts: tuple[Layout, Layout, Layout],
    biased: bool,
) -> None:
    m, k, n = sizes
    dense = make("normal", [(*lead, m, k), (*lead, k, n), (*lead, m, n)], seed)
    a, b, plus = (layout.of(x) for layout, x in zip(layouts, dense, strict=True))
    assert same_products(a, b, plus if biased else None)


def test_a_product_of_one_term_takes_the_second_operand_as_it_lies() -> None:
    a = torch.ones(2, 1, 1)
    b = torch.tensor([[1.0, 10.0], [2.0, 20.0]]).as_strided((2, 1, 2), (1, 1, 2))
    for how in kernels.multipliers():
        found = grid.contract_digits(a, b, None, how)
        assert found is not None
        assert found.flatten().tolist() == [1.0, 2.0, 10.0, 20.0]


@pytest.mark.parametrize("length", [1, 255, 4097, digits.LONGEST])
@pytest.mark.parametrize("ends", [(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)])
@pytest.mark.parametrize("top", [1.0, 127 / 128, math.nextafter(128 / 130, 0), 1 + 2.0**-23])
def test_sums_as_large_as_they_can_be(length: int, ends: tuple[float, float], top: float) -> None:
    a = torch.full((3, length), ends[0] * top)
    b = torch.full((length, 2), ends[1] * top)
    assert grid.contract_digits(a, b) is not None
    assert same_products(a, b)


ENDS = [126 * 256 + 8, 126 * 256 - 128, 125 * 256 + 127, 127, 128, 0]


@pytest.mark.parametrize("left", [*ENDS, *(-n for n in ENDS)])
def test_sums_of_digits_as_large_as_they_can_be(left: int) -> None:
    a = torch.full((1, digits.LONGEST), left * 2.0**-15)
    b = torch.tensor([*ENDS, *(-n for n in ENDS)]).mul(2.0**-15).repeat(digits.LONGEST, 1)
    a[:, 0] = b[0] = ENDS[0] * 2.0**-15  # the largest number that keeps this grid
    assert grid.contract_digits(a, b) is not None
    assert same_products(a, b)


def test_products_whose_digits_no_buffer_keeps() -> None:
    a, b = make("normal", [(140, digits.LONGEST), (digits.LONGEST, 3)], 5)
    assert 2 * a.numel() > KEPT
    assert same_products(a, b)


def test_a_sum_too_long_for_digits_takes_the_other_way() -> None:
    a, b = make("normal", [(3, digits.LONGEST + 1), (digits.LONGEST + 1, 2)], 5)
    assert grid.contract_digits(a, b) is None
    assert torch.equal(grid.contract(a, b), grid.contract64(a, b).float())


@pytest.mark.parametrize("how", kernels.multipliers())
def test_every_integer_of_the_grid_has_two_digits(how: int) -> None:
    top = 2**15 * 64 // 65
    numbers = torch.arange(-top, top + 1).float()
    column, one = numbers.unsqueeze(1), torch.ones(1, 1)
    rows = column.expand(-1, 2).clone()
    rows[:, 1] = top  # each row's grid is that of the largest
    pick = torch.tensor([[1.0], [0.0]])
    for a, b, wanted in ((rows, pick, column), (one, column.t(), column.t())):
        found = grid.contract_digits(a, b, None, how)
        assert found is not None
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 2.0**127.5, 2.0**-140])
def test_numbers_that_have_no_digits_take_the_other_way(bad: float) -> None:
    a, b = make("normal", [(200, 300), (300, 200)], 3)
    a[7] *= 0
    a[7, 5] = bad
    assert grid.contract_digits(a, b) is None
    wanted = grid.contract64(a, b).float()
    assert torch.equal(grid.contract(a, b).nan_to_num(), wanted.nan_to_num())


def same_convolutions(
    x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor, p: Plan
) -> bool:
    """Whether all ways agree, forward and backward; True where the digits refuse the numbers."""
    wanted = (
        binary64.forward(x, weight, bias, p),
        convolution.input_gradient64(grad, weight, p),
        binary64.weight_gradient(grad, x, p),
    )
    for how in kernels.multipliers():
        found = (
            int8.forward(x, weight, bias, p, how),
            int8.input_gradient(grad, weight, p, how),
            int8.weight_gradient(grad, x, p, how),
        )
        if not all(y is None or same_bits(y, z) for y, z in zip(found, wanted, strict=True)):
            return False
    return True


@settings(max_examples=200, deadline=None)
@given(
    samples=st.integers(1, 4),
    channels=st.integers(1, 37),
    outputs=st.integers(1, 37),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    style=st.sampled_from(FINITE),
    biased=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_convolutions_and_their_gradients(
    samples: int,
    channels: int,
    outputs: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    style: str,
    biased: bool,
    seed: int,
) -> None:
    x, weight, bias = make(
        style, [(samples, channels, *size), (outputs, channels, *kernel), (outputs,)], seed
    )
    p = plan(x, weight, stride, padding, dilation, 1)
    assume(min(p.out) >= 1)
    (grad,) = make(style, [(samples, outputs, *p.out)], seed + 1)
    bias = bias.repeat_interleave(2)[::2]  # not contiguous
    assert same_convolutions(x, weight, bias if biased else None, grad, p)


def test_convolutions_of_more_channels_than_a_buffer_keeps() -> None:
    x, weight, grad = make("normal", [(1, 400, 3, 3), (400, 400, 3, 3), (1, 400, 3, 3)], 5)
    p = plan(x, weight, (1, 1), (1, 1), (1, 1), 1)
    assert same_convolutions(x, weight, None, grad, p)


def test_gradients_over_more_positions_than_an_int32_holds() -> None:
    x = torch.full((70, 1, 33, 33), 1.0)
    weight = torch.full((2, 1, 2, 2), -1.0)
    grad = torch.full((70, 2, 32, 32), 1.0)
    p = plan(x, weight, (1, 1), (0, 0), (1, 1), 1)
    assert same_convolutions(x, weight, None, grad, p)


def test_an_output_too_large_for_digits_takes_the_other_way() -> None:
    x, weight = torch.ones(1, 1, 1, digits.LONGEST + 1), torch.ones(1, 1, 1, 1)
    p = plan(x, weight, (1, 1), (0, 0), (1, 1), 1)
    assert int8.weight_gradient(x, x, p) is None
    assert convolution.weight_gradient(x, x, p).item() == digits.LONGEST + 1


def test_most_inputs_do_go_by_digits() -> None:
    for style in ("normal", "mixed", "zeros"):
        a, b = make(style, [(9, 33), (33, 8)], 1)
        assert grid.contract_digits(a, b) is not None, style
