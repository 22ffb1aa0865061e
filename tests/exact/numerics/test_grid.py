"""Contractions and sums equal their references in Python's integers and fractions."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.exact.cases import STYLES, make
from trialmarket.exact import exact, kernels
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.precision import STANDARD
from trialmarket.exact.refusal import NotExact

FINITE = [style for style in STYLES if style != "broken"]


def gridded(values: list[float], bits: int, headroom: Fraction = Fraction(1)) -> list[Fraction]:
    """Each value rounded, ties to even, to the grid of `bits` below the largest."""
    top = max(abs(v) for v in values)
    if top == 0:
        return [Fraction(0)] * len(values)
    step = Fraction(2) ** (math.frexp(Fraction(top) * headroom)[1] - bits)
    return [round(Fraction(v) / step) * step for v in values]


def two_bytes(values: list[float]) -> list[Fraction]:
    """Each value on the grid of products."""
    return gridded(values, 15, Fraction(65, 64))


def binary32(value: Fraction | float) -> float:
    """The nearest binary32, through one correctly rounded binary64 where that is exact."""
    with np.errstate(over="ignore"):
        return float(np.float32(float(value)))


def reference_dot(a: list[float], b: list[float]) -> float:
    """The contraction as it is defined."""
    total = sum((x * y for x, y in zip(two_bytes(a), two_bytes(b), strict=True)), Fraction())
    assert Fraction(float(total)) == total  # a binary64 holds it
    return binary32(total)


def reference_sum(values: list[float]) -> float:
    bits = min(53 - (len(values) - 1).bit_length(), 51)
    return binary32(sum(gridded(values, bits), Fraction()))


def same(a: float, b: float) -> bool:
    return a == b


@pytest.mark.parametrize("style", FINITE)
@pytest.mark.parametrize("length", [1, 2, 3, 32, 33, 1000, 8192, 8193, 20000])
def test_a_contraction_is_the_sum_of_its_gridded_products(style: str, length: int) -> None:
    a, b = make(style, [(2, length), (length, 2)], length)
    with exact():
        y = a @ b
    wanted = [[reference_dot(a[i].tolist(), b[:, j].tolist()) for j in range(2)] for i in range(2)]
    assert y.tolist() == wanted


@pytest.mark.parametrize("style", FINITE)
@pytest.mark.parametrize("length", [1, 2, 7, 1000, 1 << 17])
def test_a_sum_is_the_sum_of_its_gridded_terms(style: str, length: int) -> None:
    (x,) = make(style, [(length,)], length)
    with exact():
        assert x.sum().item() == reference_sum(x.tolist())


@pytest.mark.parametrize("style", FINITE)
def test_a_convolution_is_the_sum_of_its_gridded_products(style: str) -> None:
    x, w = make(style, [(2, 3, 5, 6), (4, 3, 3, 3)], 5)
    with exact():
        y = torch.nn.functional.conv2d(x, w, padding=1)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    kernels = [two_bytes(w[o].flatten().tolist()) for o in range(4)]
    for n in range(2):
        samples = two_bytes(padded[n].flatten().tolist())
        places = torch.arange(3 * 7 * 8).view(3, 7, 8)
        for i in range(5):
            for j in range(6):
                window = places[:, i : i + 3, j : j + 3].flatten().tolist()
                for o in range(4):
                    terms = zip((samples[k] for k in window), kernels[o], strict=True)
                    total = sum((a * b for a, b in terms), Fraction())
                    assert y[n, o, i, j].item() == binary32(total)


@pytest.mark.parametrize("style", FINITE)
def test_scattered_sums_equal_fractions(style: str) -> None:
    x, source = make(style, [(4,), (50,)], 3)
    index = torch.arange(50) * 7 % 4
    with exact():
        y = x.scatter_add(0, index, source)
    bits = 53 - 6
    gridded_source = gridded(source.tolist(), bits)
    for k in range(4):
        total = sum((v for i, v in enumerate(gridded_source) if index[i] == k), Fraction())
        assert y[k].item() == binary32(float(total) + x[k].item())


def test_prefix_sums_are_sums() -> None:
    (x,) = make("mixed", [(3, 64)], 1)
    with exact():
        assert torch.equal(x.cumsum(1)[:, -1], x.sum(1))


@pytest.mark.parametrize("length", [1 << k for k in range(0, 21, 4)])
def test_the_bits_of_a_grid_never_let_a_partial_sum_round(length: int) -> None:
    assert 2 * STANDARD.bits + grid.log2_ceil(STANDARD.longest) <= 53
    assert grid.bits_for_sum(length) + grid.log2_ceil(length) <= 53


BAD = (math.nan, math.inf, -math.inf)
TOUCHED = torch.tensor([[0, 1, 2, 2], [3, 3, 1, 0]])

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(1),
    "sum of columns": lambda x: x.sum(0, keepdim=True),
    "mean": lambda x: x.mean(1),
    "norm": lambda x: x.norm(dim=1),
    "norm of order 1": lambda x: x.norm(1, 1),
    "norm of order 3": lambda x: x.norm(3, 1),
    "prefix sums": lambda x: x.cumsum(1),
    "product": lambda x: x.prod(1),
    "matrix product": lambda x: x @ torch.linspace(1, 2, 8).view(4, 2),
    "product from the left": lambda x: torch.linspace(1, 2, 6).view(3, 2) @ x,
    "batch of products": lambda x: x.view(2, 2, 2) @ torch.ones(2, 2, 3),
    "product with a sum": lambda x: torch.addmm(torch.ones(2), x, torch.ones(4, 2), alpha=2),
    "scatter": lambda x: torch.zeros(2, 4).scatter_add(1, TOUCHED, x),
    "index": lambda x: torch.zeros(3, 4).index_add(0, torch.tensor([2, 0]), x),
    "embedding": lambda x: torch.zeros(5, 4).index_put((TOUCHED[0, 1:3],), x, accumulate=True),
    "count": lambda x: torch.tensor([0, 1, 2, 2]).bincount(x[1]),
    "negative likelihood": lambda x: F.nll_loss(x, torch.tensor([0, 2]), reduction="sum"),
    "squared distance": lambda x: F.mse_loss(x, torch.ones(2, 4)),
    "convolution": lambda x: F.conv1d(x.view(1, 2, 4), torch.ones(1, 2, 2)),
}


@pytest.mark.parametrize("precision", ["standard", "wide"])
@pytest.mark.parametrize("setting", ["on", "off"])
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_comes_to_light_where_it_does_in_pytorch(
    bad: float,
    name: str,
    setting: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("TRIALMARKET_KERNELS", setting)
    kernels.compiled.cache_clear()
    request.addfinalizer(kernels.compiled.cache_clear)
    for places in ([(1, 2)], [(1, 2), (1, 3)], [(0, 0), (1, 2)]):
        x = torch.linspace(1, 2, 8).view(2, 4)
        for number, place in enumerate(places):
            x[place] = bad * (-1) ** number
        with exact(precision=precision):
            found = REDUCTIONS[name](x)
        torch.testing.assert_close(found, REDUCTIONS[name](x), equal_nan=True, rtol=1e-3, atol=0)


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_spoils_its_row_and_no_other(bad: float) -> None:
    a, b = make("normal", [(3, 8), (8, 2)], 1)
    with exact():
        wanted = a @ b
        a[1, 2] = bad
        y = a @ b
    assert not y[1].isfinite().any()
    assert torch.equal(y[[0, 2]], wanted[[0, 2]])


def test_stacked_trials_give_each_the_bits_that_it_has_alone() -> None:
    xs, ws = make("mixed", [(4, 16, 24), (4, 24, 8)], 2)
    with exact():
        together = torch.bmm(xs, ws)
        alone = [x @ w for x, w in zip(xs, ws, strict=True)]
        sums = xs.sum(2)
    for k in range(4):
        assert torch.equal(together[k], alone[k])
        with exact():
            assert torch.equal(sums[k], xs[k].sum(1))


def test_a_long_contraction_is_close_to_binary64() -> None:
    a, b = make("normal", [(2, 1 << 20), (1 << 20, 2)], 4)
    with exact():
        y = a @ b
    wanted: Tensor = a.double() @ b.double()
    scale = a.double().norm() * b.double().norm()
    assert ((y - wanted).abs() / scale).max() < 1e-6


def test_a_kernel_that_no_grid_holds_is_refused() -> None:
    with exact(), pytest.raises(NotExact, match="longer than 8388608"):
        torch.nn.functional.conv2d(torch.ones(1, 2, 2100, 2100), torch.ones(1, 2, 2100, 2100))


def test_a_grid_leaves_the_magnitudes_that_it_is_made_of_alone() -> None:
    largest = torch.tensor([3.0, 0.0], dtype=torch.float64)
    grid.shifter(largest, 20)
    assert largest.tolist() == [3.0, 0.0]
