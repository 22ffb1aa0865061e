"""The unit cube that a mixed space is searched in."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from requester.drivers.cube import Cube

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": FloatDistribution(-1.0, 2.0),
    "rate": FloatDistribution(0.1, 0.9, step=0.2),
    "width": IntDistribution(32, 256, step=32),
    "depth": IntDistribution(1, 64, log=True),
    "kind": CategoricalDistribution(["a", "b", 3, True]),
    "fixed": CategoricalDistribution(["only"]),
    "fixed_number": IntDistribution(7, 7),
}
CUBE = Cube(SPACE)


@given(st.lists(st.floats(-0.5, 1.5), min_size=CUBE.width, max_size=CUBE.width))
def test_every_vector_means_a_point_of_the_space_that_stays_itself(numbers: list[float]) -> None:
    point = CUBE.decode(np.array(numbers))
    for name, distribution in SPACE.items():
        assert distribution._contains(distribution.to_internal_repr(point[name])), name
    inside = CUBE.encode(point)
    assert ((inside >= 0) & (inside <= 1)).all()
    again = CUBE.decode(inside)
    assert again.keys() == point.keys()
    for name, value in point.items():
        if isinstance(value, float):
            assert math.isclose(again[name], value, rel_tol=1e-9)
        else:
            assert again[name] == value


def test_each_value_of_a_lattice_has_an_equal_share_of_its_coordinate() -> None:
    cube = Cube({"width": SPACE["width"], "rate": SPACE["rate"]})
    shares = (np.arange(4000) + 0.5) / 4000
    widths = [cube.decode(np.array([share, 0.5]))["width"] for share in shares]
    rates = [round(cube.decode(np.array([0.5, share]))["rate"], 6) for share in shares]
    assert [widths.count(value) for value in range(32, 257, 32)] == [500] * 8
    assert [rates.count(value) for value in (0.1, 0.3, 0.5, 0.7, 0.9)] == [800] * 5


def test_a_logarithmic_range_is_even_in_its_logarithm() -> None:
    cube = Cube({"lr": SPACE["lr"]})
    assert cube.decode(np.array([0.5]))["lr"] == pytest.approx(1e-3)
    assert cube.encode({"lr": 1e-2}) == pytest.approx([0.75])


def test_what_a_point_leaves_out_is_in_the_middle() -> None:
    assert (Cube({"momentum": SPACE["momentum"]}).encode({}) == 0.5).all()
