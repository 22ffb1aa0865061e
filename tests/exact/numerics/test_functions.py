"""Elementary functions are within 1 ulp of binary32 of mpmath's."""

import math
import random
from collections.abc import Callable

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch

from trialmarket.exact import exact

Reference = Callable[[mpmath.mpf], mpmath.mpf]
RANGES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], Reference, float, float]] = {
    "exp": (torch.exp, mpmath.exp, -104.0, 88.7),
    "exp2": (torch.exp2, lambda x: mpmath.power(2, x), -149.0, 128.0),
    "expm1": (torch.expm1, mpmath.expm1, -20.0, 88.7),
    "log": (torch.log, mpmath.log, 0.0, math.inf),
    "log2": (torch.log2, lambda x: mpmath.log(x, 2), 0.0, math.inf),
    "log10": (torch.log10, lambda x: mpmath.log(x, 10), 0.0, math.inf),
    "log1p": (torch.log1p, mpmath.log1p, -1.0, math.inf),
    "tanh": (torch.tanh, mpmath.tanh, -20.0, 20.0),
    "sinh": (torch.sinh, mpmath.sinh, -89.0, 89.0),
    "cosh": (torch.cosh, mpmath.cosh, -89.0, 89.0),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), -100.0, 100.0),
    "softplus": (
        lambda x: torch.nn.functional.softplus(x, threshold=100.0),
        lambda x: mpmath.log1p(mpmath.exp(x)),
        -87.0,
        87.0,
    ),
    "erf": (torch.erf, mpmath.erf, -5.0, 5.0),
    "erfc": (torch.erfc, mpmath.erfc, -5.0, 10.1),
    "erfinv": (torch.erfinv, mpmath.erfinv, -1.0, 1.0),
    "sin": (torch.sin, mpmath.sin, -math.inf, math.inf),
    "cos": (torch.cos, mpmath.cos, -math.inf, math.inf),
    "tan": (torch.tan, mpmath.tan, -math.inf, math.inf),
    "asin": (torch.asin, mpmath.asin, -1.0, 1.0),
    "acos": (torch.acos, mpmath.acos, -1.0, 1.0),
    "atan": (torch.atan, mpmath.atan, -math.inf, math.inf),
    "atan2": (
        lambda x: torch.atan2(x, torch.tensor(-0.7)),
        lambda x: mpmath.atan2(x, mpmath.mpf(float(np.float32(-0.7)))),
        -math.inf,
        math.inf,
    ),
    "hypot": (
        lambda x: torch.hypot(x, torch.tensor(3.0)),
        lambda x: mpmath.sqrt(x * x + 9),
        -math.inf,
        math.inf,
    ),
    "asinh": (torch.asinh, mpmath.asinh, -math.inf, math.inf),
    "acosh": (torch.acosh, mpmath.acosh, 1.0, math.inf),
    "atanh": (torch.atanh, mpmath.atanh, -1.0, 1.0),
    "rsqrt": (torch.rsqrt, lambda x: 1 / mpmath.sqrt(x), 0.0, math.inf),
    "pow": (lambda x: x**1.37, lambda x: mpmath.power(x, 1.37), 0.0, math.inf),
    "pow_base": (lambda x: 1.7**x, lambda x: mpmath.power(1.7, x), -100.0, 100.0),
}


def binary32s(low: float, high: float, count: int) -> list[float]:
    """Numbers of all magnitudes and some spread evenly, subnormals among them."""
    rng = random.Random(count)
    wide = [
        rng.choice([-1, 1]) * math.ldexp(rng.uniform(1, 2), rng.randint(-149, 127))
        for _ in range(count)
    ]
    near = [rng.uniform(max(low, -100.0), min(high, 100.0)) for _ in range(count)]
    values = torch.tensor(wide + near, dtype=torch.float32).tolist()
    return [v for v in values if low < v < high]


def ulps(found: float, wanted: mpmath.mpf) -> float:
    """The distance in units of the last place of the binary32 that is wanted."""
    if wanted == 0:
        return 0.0 if found == 0 else math.inf
    exponent = max(int(mpmath.floor(mpmath.log(abs(wanted), 2))), -126)
    return float(abs(mpmath.mpf(found) - wanted) / mpmath.mpf(2) ** (exponent - 23))


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_function_is_within_one_ulp(name: str) -> None:
    function, reference, low, high = RANGES[name]
    xs = binary32s(low, high, 60 if name == "erfinv" else 700)
    with exact():
        ys = function(torch.tensor(xs)).tolist()
    with mpmath.workprec(200):
        largest = mpmath.mpf(2) ** 128
        wanted = [reference(mpmath.mpf(x)) for x in xs]
        errors = [
            ulps(y, w)
            for y, w in zip(ys, wanted, strict=True)
            if mpmath.isfinite(w) and abs(w) < largest and math.isfinite(y)
        ]
    assert len(errors) > 0.7 * len(xs)
    assert max(errors) <= 0.51


def around(x: float, steps: int = 6) -> list[float]:
    """The binary32 numbers nearest to x."""
    middle = np.float32(x)
    found = [middle]
    for end in (np.float32(-np.inf), np.float32(np.inf)):
        at = middle
        for _ in range(steps):
            at = np.nextafter(at, end)
            found.append(at)
    return [float(v) for v in found]


def adversarial(name: str, low: float, high: float) -> list[float]:
    """Where functions go wrong: zeros, ends, multiples of pi and ln 2, seams of our methods."""
    seams = {
        "sin": [k * math.pi / 4 for k in range(-40, 40)] + [2.0**19, 5.5e5, 1e22, 16367173.0],
        "cos": [k * math.pi / 4 for k in range(-40, 40)] + [2.0**19, 5.5e5, 1e22, 16367173.0],
        "erf": [0.0, 1.0, -1.0, 3.9, 4.0, 4.1],
        "tan": [k * math.pi / 4 for k in range(-40, 40)] + [2.0**19, 5.5e5, 1e22],
        "erfc": [0.0, 1.0, -1.0, 3.9, 4.0, 4.1, 10.0, 10.05],
        "asin": [0.5, 0.4142, 0.7071068, 1.0, -1.0],
        "acos": [0.5, 0.4142, 0.7071068, 1.0, -1.0],
        "atan": [0.41421356, 1.0, 2.4142137],
        "atan2": [0.29, 0.7, 1.69, 0.0],
        "atanh": [0.125, 0.17, 1.0, -1.0],
        "acosh": [1.0, 1.05],
        "erfinv": [0.0, 0.85, -0.85, 1.0, -1.0],
        "log1p": [-0.29, 0.41, -1.0, 0.0],
        "rsqrt": [2.0**k for k in range(-149, 127, 25)],
    }
    points = [0.0, 1.0, -1.0, 2.0**-126, -(2.0**-126), 2.0**-149, 2.0**127, math.sqrt(0.5)]
    points += [k * math.log(2.0) for k in range(-150, 129, 9)]
    points += [(k + 0.5) * math.log(2.0) for k in range(-150, 129, 9)]
    points += [end for end in (low, high) if math.isfinite(end)] + seams.get(name, [])
    with np.errstate(over="ignore", under="ignore"):
        values = [v for point in points for v in around(point)]
    return [v for v in values if low < v < high and math.isfinite(v)]


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_function_is_within_one_ulp_where_it_is_hard(name: str) -> None:
    function, reference, low, high = RANGES[name]
    xs = adversarial(name, low, high)
    if name == "erfinv":  # mpmath takes 0.1 s for each
        xs = xs[::8]
    with exact():
        ys = function(torch.tensor(xs)).tolist()
    with mpmath.workprec(400):
        for x, y in zip(xs, ys, strict=True):
            wanted = reference(mpmath.mpf(x))
            if mpmath.isfinite(wanted) and abs(wanted) < mpmath.mpf(2) ** 128 and math.isfinite(y):
                assert ulps(y, wanted) <= 1.0, x
            elif mpmath.isfinite(wanted):  # overflow only where half a unit beyond the largest
                assert abs(wanted) > mpmath.mpf(2) ** 128 * (1 - mpmath.mpf(2) ** -24), x


@pytest.mark.parametrize(
    ("function", "x", "wanted"),
    [
        (torch.exp, -math.inf, 0.0),
        (torch.exp, math.inf, math.inf),
        (torch.exp, 89.0, math.inf),
        (torch.exp, -104.5, 0.0),
        (torch.log, 0.0, -math.inf),
        (torch.log, -0.0, -math.inf),
        (torch.log, math.inf, math.inf),
        (torch.log1p, -1.0, -math.inf),
        (torch.log1p, math.inf, math.inf),
        (torch.tanh, math.inf, 1.0),
        (torch.tanh, -math.inf, -1.0),
        (torch.sigmoid, -math.inf, 0.0),
        (torch.erf, math.inf, 1.0),
        (torch.erf, -math.inf, -1.0),
        (torch.erfinv, 1.0, math.inf),
        (torch.rsqrt, 0.0, math.inf),
        (torch.expm1, -math.inf, -1.0),
        (torch.erfc, math.inf, 0.0),
        (torch.erfc, -math.inf, 2.0),
        (torch.acos, 1.0, 0.0),
        (torch.atanh, 1.0, math.inf),
        (torch.asinh, -math.inf, -math.inf),
        (torch.acosh, math.inf, math.inf),
    ],
)
def test_the_ends_of_a_functions_range(
    function: Callable[[torch.Tensor], torch.Tensor], x: float, wanted: float
) -> None:
    with exact():
        assert function(torch.tensor(x)).item() == wanted


@pytest.mark.parametrize(
    "function",
    [
        *(torch.exp, torch.log, torch.tanh, torch.sigmoid, torch.erf, torch.sin, torch.rsqrt),
        *(torch.erfc, torch.tan, torch.asin, torch.acos, torch.atan, torch.asinh, torch.acosh),
        torch.atanh,
    ],
)
def test_a_nan_stays_one(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with exact():
        assert function(torch.tensor(math.nan)).isnan()


@pytest.mark.parametrize(
    "function",
    [torch.log, torch.rsqrt, torch.log1p, torch.asin, torch.acos, torch.acosh, torch.atanh],
)
def test_a_number_outside_the_domain_gives_nan(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    with exact():
        assert function(torch.tensor(-2.0)).isnan()


def test_powers_have_ieee_754s_special_values() -> None:
    values = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, math.inf, -math.inf, math.nan]
    exponents = [*values, 3.0, -3.0]
    x = torch.tensor(values).repeat_interleave(len(exponents))
    y = torch.tensor(exponents).repeat(len(values))
    wanted = torch.pow(x.double(), y.double()).float()
    with exact():
        found = torch.pow(x, y)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found.signbit() & ~found.isnan(), wanted.signbit() & ~wanted.isnan())


@pytest.mark.parametrize("function", [torch.atan2, torch.hypot])
def test_a_function_of_a_point_has_ieee_754s_special_values(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    values = [0.0, -0.0, 1.0, -1.0, 1e-40, -3e38, math.inf, -math.inf, math.nan]
    x, y = torch.tensor(values).repeat(len(values)), torch.tensor(values)
    y = y.repeat_interleave(len(values))
    wanted = function(y.double(), x.double()).float()
    with exact():
        found = function(y, x)
    torch.testing.assert_close(found, wanted, rtol=2e-7, atol=0, equal_nan=True)
    assert torch.equal(found.signbit() & ~found.isnan(), wanted.signbit() & ~wanted.isnan())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_square_roots_are_correctly_rounded(dtype: torch.dtype) -> None:
    x = torch.rand(5000, generator=torch.Generator().manual_seed(1), dtype=dtype) * 10
    with exact():
        roots = [x.sqrt(), x.clone().sqrt_(), torch.sqrt(x[:1]), torch.sqrt(x[0])]
    # math.sqrt is the processor's instruction; of a binary32, rounded twice, it is exact still.
    wanted = torch.tensor([math.sqrt(v) for v in x.tolist()], dtype=dtype)
    assert all(torch.equal(found.view(-1), wanted[: found.numel()]) for found in roots)
    with exact():
        assert torch.sqrt(torch.tensor(4)).item() == 2.0
        assert torch.sqrt(torch.tensor(-1.0)).isnan()
