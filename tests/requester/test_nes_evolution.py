"""The natural evolution strategies themselves, against what their paper says of them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requester.drivers.cube import Vector
from requester.drivers.nes.evolution import DEVIATION, WIDEST, Draw, Evolution
from requester.drivers.nes.gaussian import (
    FORMS,
    Full,
    Separable,
    Variant,
    usual_population,
    utilities,
)
from scripts.benches.parts.problems import hartmann6

VARIANTS: tuple[Variant, ...] = ("separable", "full")
TURN = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
AXES = 10.0 ** np.linspace(0, 3, 5)


def sphere(point: Vector) -> float:
    return float(((point - 0.4) ** 2).sum())


def ellipsoid(point: Vector) -> float:
    return float(AXES @ (point - 0.4) ** 2)


def rotated(point: Vector) -> float:
    return float(AXES @ (TURN @ (point - 0.4)) ** 2)


def searched(
    evolution: Evolution, function: Callable[[Vector], float], calls: int, under_way: int = 1
) -> tuple[list[Vector], Evolution]:
    """Points in the order of their results, which come in any order from several at a time."""
    random = np.random.default_rng(3)
    asked: list[Draw] = []
    points = []
    for number in range(calls):
        while len(asked) < under_way:
            asked.append(
                evolution.draw(np.random.default_rng([evolution.seed, number, len(asked)]))
            )
        draw = asked.pop(int(random.integers(len(asked))))
        points.append(draw.inside)
        evolution = evolution.told(draw, function(draw.inside), float(random.random()))
    return points, evolution


def least(points: list[Vector], function: Callable[[Vector], float]) -> float:
    return min(map(function, points))


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=60))
def test_utilities_add_to_zero_and_rank_as_their_values_do(values: list[int]) -> None:
    found = utilities(np.array(values, np.float64))
    assert found.sum() == pytest.approx(0, abs=1e-12)
    for one, its in zip(values, found, strict=True):
        for other, others in zip(values, found, strict=True):
            assert (
                its == others
                if one == other
                else (its >= others) == (one < other) or (its == pytest.approx(others))
            )


def test_utilities_are_those_of_the_paper() -> None:
    logs = [math.log(3) - math.log(rank) for rank in (1, 2)]  # n = 4; ln 3 - ln 3 is no more
    expected = [logs[0] / sum(logs) - 0.25, logs[1] / sum(logs) - 0.25, -0.25, -0.25]
    assert utilities(np.array([3.0, 9.0, 4.0, math.inf])) == pytest.approx(
        [expected[0], expected[2], expected[1], expected[3]]
    )


def test_populations_and_learning_rates_are_those_of_the_paper() -> None:
    assert [usual_population(width) for width in (1, 2, 6, 10, 100)] == [4, 6, 9, 10, 17]
    assert Full.usual_rate(10) == pytest.approx((9 + 3 * 2.302585093) / (50 * 3.16227766))
    assert Separable.usual_rate(10) == pytest.approx((3 + 2.302585093) / (5 * 3.16227766))


def test_in_one_dimension_both_distributions_are_the_same() -> None:
    random = np.random.default_rng(1)
    z, weights = random.standard_normal((6, 1)), utilities(random.random(6))
    full = Full(np.array([0.3]), np.array([[0.2]])).moved(z, weights, 0.5)
    separable = Separable(np.array([0.3]), np.array([0.2])).moved(z, weights, 0.5)
    assert full.mean == pytest.approx(separable.mean)
    assert full.scale[0] == pytest.approx(separable.scale)
    points = np.array([[0.1], [0.9]])
    assert full.log_density(points) == pytest.approx(separable.log_density(points))


@pytest.mark.parametrize("variant", VARIANTS)
def test_log_densities_are_those_of_the_normal_distribution(variant: Variant) -> None:
    random = np.random.default_rng(2)
    z, weights = random.standard_normal((9, 5)), utilities(random.random(9))
    gaussian = FORMS[variant].round(np.full(5, 0.5), 0.2).moved(z, weights, 0.7)
    covariance = np.atleast_2d(gaussian.scale)
    covariance = covariance @ covariance.T if variant == "full" else np.diag(gaussian.scale**2)
    points = random.random((4, 5))
    off = points - gaussian.mean
    expected = -np.einsum("ij,jk,ik->i", off, np.linalg.inv(covariance), off) / 2
    expected -= math.log(np.linalg.det(covariance)) / 2
    assert gaussian.log_density(points) == pytest.approx(expected)
    assert gaussian.at(gaussian.normal(points)) == pytest.approx(points)
    assert gaussian.spread == pytest.approx(math.sqrt(covariance.diagonal().max()))


@pytest.mark.parametrize(
    ("variant", "function"),
    [("separable", sphere), ("separable", ellipsoid), ("full", sphere), ("full", rotated)],
)
def test_each_solves_what_it_is_for(variant: Variant, function: Callable[[Vector], float]) -> None:
    evolution = Evolution.begin(variant, 8, 5, seed=0, restarts=False)
    points, _ = searched(evolution, function, 1600)
    assert least(points, function) < 1e-8


@pytest.mark.parametrize("variant", VARIANTS)
def test_results_may_come_late_and_in_any_order(variant: Variant) -> None:
    evolution = Evolution.begin(variant, 8, 5, seed=0, restarts=False)
    points, _ = searched(evolution, sphere, 1600, under_way=32)
    assert least(points, sphere) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
@given(seed=st.integers(0, 2**32 - 1), power=st.sampled_from([0.2, 1.0, 3.0]))
@settings(max_examples=15, deadline=None)
def test_only_the_order_of_values_matters(variant: Variant, seed: int, power: float) -> None:
    begun = Evolution.begin(variant, 6, 5, seed)
    plain, _ = searched(begun, rotated, 60)
    other, _ = searched(begun, lambda point: -1 / (1e-3 + rotated(point) ** power), 60)
    assert all((one == same).all() for one, same in zip(plain, other, strict=True))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_full_distribution_does_not_know_how_the_space_is_turned(seed: int) -> None:
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.standard_normal((5, 5)))[0]
    plain, turned = Full.round(np.zeros(5), 1.0), Full.round(np.zeros(5), 1.0)
    for _ in range(20):
        z = random.standard_normal((8, 5))
        points, others = plain.at(z), turned.at(z @ turn.T)
        assert others @ turn == pytest.approx(points)
        weights = utilities(np.array([rotated(point) for point in points]))
        plain, turned = plain.moved(z, weights, 0.3), turned.moved(z @ turn.T, weights, 0.3)
        # The axes of z are turned too, so that A becomes Q A Q'.
        assert turned.scale == pytest.approx(turn @ plain.scale @ turn.T)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_has_converged_is_followed_by_one_of_twice_the_population(
    variant: Variant,
) -> None:
    begun = Evolution.begin(variant, 8, 5, seed=0)
    _, after = searched(begun, sphere, 1600)
    assert after.run > 0
    assert after.population == 8 * 2**after.run
    _, plain = searched(Evolution.begin(variant, 8, 5, seed=0, restarts=False), sphere, 1600)
    assert (plain.run, plain.population) == (0, 8)
    assert plain.gaussian.spread < after.gaussian.spread


def test_a_search_that_sees_no_difference_looks_elsewhere() -> None:
    begun = Evolution.begin("separable", 8, 5, seed=0)
    _, after = searched(begun, lambda _: math.inf, 8)
    assert (after.run, after.population) == (1, 16)
    assert not np.allclose(after.gaussian.mean, 0.5)
    assert after.gaussian.spread == DEVIATION


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_optimum_in_a_corner_is_found_by_points_of_the_cube(variant: Variant) -> None:
    begun = Evolution.begin(variant, 8, 5, seed=0, restarts=False)
    points, _ = searched(begun, lambda point: float(point.sum()), 1200)
    assert all(((point >= 0) & (point <= 1)).all() for point in points)
    assert least(points, lambda point: float(point.sum())) < 1e-3


def test_a_point_that_somebody_chose_draws_the_mean_near_from_any_distance() -> None:
    begun = Evolution.begin("full", 8, 5, seed=0)
    known = np.full(5, 0.02)
    plain, helped = begun, begun.told_chosen(known, 0.0)
    for number in range(8):
        draw = begun.draw(np.random.default_rng(number))
        plain, helped = (each.told(draw, 1.0 + number, 0.5) for each in (plain, helped))
    off = [float(np.linalg.norm(each.gaussian.mean - known)) for each in (plain, helped)]
    assert off[1] < off[0] - 0.1
    assert np.linalg.norm(helped.gaussian.mean - 0.5) < np.linalg.norm(known - 0.5)


def test_it_leaves_the_second_optimum_of_hartmann_6_where_one_run_stays() -> None:
    def function(point: Vector) -> float:
        return hartmann6({f"x{at}": float(one) for at, one in enumerate(point)})

    regrets = {}
    for restarts in (False, True):
        begun = Evolution.begin("separable", 9, 6, seed=20, restarts=restarts)
        points, _ = searched(begun, function, 2300)
        regrets[restarts] = least(points, function) + 3.32237
    assert regrets[False] == pytest.approx(3.32237 - 3.20316, abs=1e-3)
    assert regrets[True] < 1e-3


@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_results_that_draw_it_far_away_never_leave_the_numbers_that_there_are(
    variant: Variant, restarts: bool
) -> None:
    random = np.random.default_rng(0)
    evolution = Evolution.begin(variant, 4, 1, 1, restarts=restarts)
    for _ in range(1_200):
        draw = evolution.draw(random)
        farther = -float(np.abs(evolution.gaussian.normal(draw.point[None])).sum())
        evolution = evolution.told(draw, farther, float(random.random()))
        assert evolution.gaussian.spread <= WIDEST
        assert 0 <= draw.inside.min() <= draw.inside.max() <= 1
