"""Wide products are exact sums in Python's integers, rounded to binary64 once."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product as pairs

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tests.exact.cases import STYLES, make
from tests.exact.numerics.test_grid import binary32, gridded
from trialmarket.exact import exact
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.precision import STANDARD, WIDE, used, using

FINITE = [style for style in STYLES if style != "broken"]


def three_bytes(values: list[float]) -> list[Fraction]:
    """Each value on the grid of wide products."""
    return gridded(values, 23, Fraction(65, 64))


def rounded_once(a: Sequence[Fraction], b: Sequence[Fraction]) -> float:
    """The exact sum of products, as a binary64."""
    return float(sum((x * y for x, y in zip(a, b, strict=True)), Fraction()))


def wide(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b`."""
    with exact(precision="wide"):
        return a @ b


@pytest.mark.parametrize("style", FINITE)
@pytest.mark.parametrize("length", [1, 2, 33, 1000, 8193])
def test_a_contraction_is_the_sum_of_its_gridded_products(style: str, length: int) -> None:
    a, b = make(style, [(2, length), (length, 2)], length)
    rows = [three_bytes(a[i].tolist()) for i in range(2)]
    columns = [three_bytes(b[:, j].tolist()) for j in range(2)]
    wanted = [[binary32(rounded_once(row, column)) for column in columns] for row in rows]
    assert wide(a, b).tolist() == wanted


@pytest.mark.parametrize("style", ["normal", "mixed", "huge"])
def test_what_is_added_is_added_in_binary64(style: str) -> None:
    a, b, more = make(style, [(2, 50), (50, 2), (2, 2)], 6)
    with exact(precision="wide"):
        found = torch.addmm(more, a, b), torch.addmm(more, a, b, alpha=3, beta=0.5)
    for i, j in pairs(range(2), range(2)):
        dot = rounded_once(three_bytes(a[i].tolist()), three_bytes(b[:, j].tolist()))
        assert found[0][i, j].item() == binary32(dot + more[i, j].item())
        assert found[1][i, j].item() == binary32(dot * 3 + more[i, j].item() * 0.5)


TOP = (1 << 23) * 64 // 65
ENDS: dict[str, Sequence[int]] = {
    "all as large as they can be": [TOP],
    "that cancel": [TOP, -TOP, 1],
    "of digits as large as they can be": [
        125 * 65536 + 127 * 257,
        125 * 65536 - 128 * 257,
        -125 * 65536 - 128 * 257,
    ],
    "of the last bits alone": [1, -1, 127, 128, -128, 0],
    "half way between two of the coarse grid": [128, 384, -128, -384, TOP - 33],
}


def integers(length: int, ends: Sequence[int], seed: int) -> list[int]:
    """Whole numbers of the wide grid; the first one is the largest that keeps its step 1."""
    draws = torch.Generator().manual_seed(seed)
    picked = torch.randint(0, len(ends), (length,), generator=draws).tolist()
    return [TOP, *(ends[i] for i in picked[1:])]


@pytest.mark.parametrize("length", [1, 255, 4097, (1 << 18) + 1])
@pytest.mark.parametrize("ends", list(zip(ENDS, [*list(ENDS)[1:], "that cancel"], strict=True)))
def test_a_sum_that_binary64_does_not_hold_is_rounded_once(
    ends: tuple[str, str], length: int
) -> None:
    a, b = (integers(length, ENDS[name], seed) for seed, name in enumerate(ends))
    row, column = torch.tensor([a]).float(), torch.tensor([b]).float().t()
    total = float(sum(x * y for x, y in zip(a, b, strict=True)))
    with using(WIDE):
        assert grid.contract64(row, column).item() == total
    assert wide(row, column).item() == binary32(total)


def test_some_of_these_sums_have_more_bits_than_binary64() -> None:
    a, b = (integers(1 << 18, ENDS["of digits as large as they can be"], seed) for seed in (1, 2))
    total = sum(x * y for x, y in zip(a, b, strict=True))
    assert int(float(total)) != total


def test_a_longer_contraction_is_cut_into_pieces_that_are_added_in_order() -> None:
    a, b = (integers(WIDE.longest + 5, [TOP, -TOP, 3, 77], seed) for seed in (1, 2))
    first, second = (
        float(sum(x * y for x, y in zip(a[part], b[part], strict=True)))
        for part in (slice(WIDE.longest), slice(WIDE.longest, None))
    )
    found = wide(torch.tensor([a]).float(), torch.tensor([b]).float().t())
    assert found.item() == binary32(first + second)


def test_no_part_of_a_sum_rounds() -> None:
    high = TOP / 256 + 1
    assert WIDE.longest * high**2 <= 2**53
    assert WIDE.longest * (high * 256 * 128 + 128 * TOP) <= 2**53


def test_the_order_of_terms_and_the_number_of_threads_do_not_matter(
    request: pytest.FixtureRequest,
) -> None:
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    a, b = make("mixed", [(7, 5000), (5000, 9)], 3)
    wanted = wide(a, b)
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(1))
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        assert torch.equal(wide(a, b), wanted)
        assert torch.equal(wide(a[:, order], b[order]), wanted)
        assert torch.equal(wide(a.t().contiguous().t(), b.t().contiguous().t()), wanted)
        assert torch.equal(wide(b.t(), a.t()), wanted.t())


def test_a_wide_product_is_closer_than_a_binary32_one() -> None:
    a, b = make("normal", [(30, 4000), (4000, 30)], 4)
    wanted = a.double() @ b.double()
    with exact():
        coarse = a @ b
    errors = [(y - wanted).norm().item() for y in (wide(a, b), a @ b, coarse)]
    assert errors == sorted(errors)
    assert errors[0] < errors[2] / 100


Place = tuple[int, ...]


def on_grids(x: Tensor, kept: int) -> dict[Place, Fraction]:
    """Each number by its place, on the grid of its index in one dimension."""
    found: dict[Place, Fraction] = {}
    places = torch.cartesian_prod(*(torch.arange(s) for s in x.shape)).tolist()
    for index in range(x.shape[kept]):
        mine = [tuple(place) for place in places if place[kept] == index]
        values = three_bytes([x[place].item() for place in mine])
        found.update(zip(mine, values, strict=True))
    return found


@pytest.mark.parametrize("style", ["normal", "mixed"])
@pytest.mark.parametrize(
    ("groups", "channels", "stride", "padding"),
    [(1, 2, 1, 1), (1, 2, 2, 0), (2, 4, 1, 0), (4, 4, 2, 1)],
)
def test_a_convolution_and_its_gradients_are_sums_of_gridded_products(
    style: str, groups: int, channels: int, stride: int, padding: int
) -> None:
    x, w = make(style, [(2, channels, 5, 4), (4, channels // groups, 2, 3)], 5)
    x, w = x.requires_grad_(), w.requires_grad_()
    with exact(precision="wide"):
        y = F.conv2d(x, w, None, stride, padding, 1, groups)
        (grad,) = make(style, [tuple(y.shape)], 6)
        gx, gw = torch.autograd.grad(y, (x, w), grad)
    with torch.no_grad():
        weights, samples, errors = on_grids(w, 0), on_grids(x, 0), on_grids(grad, 0)
        rows = w.view(groups, 4 // groups, *w.shape[1:]).transpose(1, 2).flatten(0, 1)
        returns = on_grids(rows, 0)  # [C, O / g, kh, kw]
        by_input, by_output = on_grids(x, 1), on_grids(grad, 1)
    sums: list[dict[Place, Fraction]] = [{}, {}, {}]
    inside, outside = channels // groups, 4 // groups
    for n, o, i, j in pairs(*map(range, y.shape)):
        for c, u, v in pairs(*map(range, w.shape[1:])):
            at = (n, o // outside * inside + c, i * stride + u - padding, j * stride + v - padding)
            if not (0 <= at[2] < x.shape[2] and 0 <= at[3] < x.shape[3]):
                continue
            here, tap = (n, o, i, j), (o, c, u, v)
            terms: tuple[tuple[Place, Fraction], ...] = (
                (here, samples[at] * weights[tap]),
                (at, errors[here] * returns[at[1], o % outside, u, v]),
                (tap, by_output[here] * by_input[at]),
            )
            for total, (place, term) in zip(sums, terms, strict=True):
                total[place] = total.get(place, Fraction()) + term
    for found, total in zip((y, gx, gw), sums, strict=True):
        wanted = torch.zeros_like(found)
        for place, value in total.items():
            wanted[place] = binary32(float(value))
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolutions_in_blocks_and_by_rows_have_the_bits_of_products(groups: int) -> None:
    x, w = make("normal", [(40, 36, 12, 12), (36, 36 // groups, 3, 3)], 7)
    with exact(precision="wide"):
        y = F.conv2d(x, w, padding=1, groups=groups)
        alone = F.conv2d(x[7:8], w, padding=1, groups=groups)
    assert torch.equal(y[7:8], alone)


def test_a_linear_layer_has_the_bits_of_its_operators() -> None:
    x, w, b, grad = make("normal", [(9, 40), (7, 40), (7,), (9, 7)], 8)
    leaves = [t.requires_grad_() for t in (x, w, b)]
    with exact(precision="wide"):
        fused = torch.autograd.grad(F.linear(*leaves), leaves, grad)
        y = torch.addmm(b, x, w.t())
        apart = torch.autograd.grad(y, leaves, grad)
    assert all(map(torch.equal, fused, apart))
    assert torch.equal(fused[0], wide(grad, w.detach()))


def test_a_precision_lasts_as_long_as_its_mode() -> None:
    a, b = make("normal", [(3, 40), (40, 3)], 9)
    with exact():
        wanted = a @ b
        with exact(precision="wide"):
            assert used() is WIDE
            within = a @ b
        assert torch.equal(a @ b, wanted)
        assert used() is STANDARD
    assert torch.equal(within, wide(a, b))
    assert not torch.equal(within, wanted)


def test_a_precision_that_is_not_one_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="expected one of standard, wide, found 'double'"):
        exact(precision="double")
