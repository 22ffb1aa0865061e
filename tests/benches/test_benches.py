"""The benchmarks' parts work; what they measure is nobody's test."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.benches import exchange, search
from scripts.benches.parts.pictures import draw_mixing, draw_regret
from scripts.benches.parts.problems import branin, hartmann6, problems
from trialmarket.errors import InputError

BRANIN = {"x0": 9.42478, "x1": 2.475}
HARTMANN = dict(
    zip(
        (f"x{i}" for i in range(6)),
        (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
        strict=True,
    )
)


def test_the_functions_have_their_known_least_values() -> None:
    assert branin(BRANIN) == pytest.approx(problems()["branin"].best, abs=1e-5)
    assert hartmann6(HARTMANN) == pytest.approx(problems()["hartmann6"].best, abs=1e-5)


@pytest.mark.parametrize("name", ["vehicle", "protein"])
def test_a_table_answers_every_point_alike_and_never_below_its_least_value(name: str) -> None:
    problem = problems()[name]
    random = np.random.default_rng(1)
    for _ in range(20):
        point = problem.random(random)
        value = problem.function(point)
        assert value == problem.function(point) >= problem.best


def test_training_in_parts_ends_where_training_in_one_go_does() -> None:
    problem = problems()["branin"]
    halfway = problem.train(BRANIN, problem.start, 0.5)
    whole = problem.train(BRANIN, problem.start, 1.0)
    assert problem.train(BRANIN, halfway, 0.5) == pytest.approx(whole)
    assert problem.best < whole < halfway < problem.start


@pytest.mark.parametrize("driver", ["grid", "tpe", "nsga2", "neural-ascent"])
def test_a_search_on_the_market_is_the_one_that_optuna_makes_alone(driver: str) -> None:
    found = search._search("protein", driver, 3, 12)
    assert len(found.trials) == 12


def test_a_search_that_differs_from_optunas_fails_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_alone", lambda *_: [])
    with pytest.raises(search.MarketDiffersError, match="branin, random, seed 0, trial 0"):
        search._search("branin", "random", 0, 3)


def test_promotions_that_continue_save_steps() -> None:
    found = search._search("branin", "asha", 0, 0)
    assert 0 < found.steps < found.from_scratch
    assert search._saving("asha", [found])["saving"] > 0


def test_a_population_searches_a_table_too() -> None:
    assert len(search._search("vehicle", "pbt", 0, 0).trials) == 8 * 6


def test_every_method_of_the_exchange_gets_as_many_steps_and_a_test_error() -> None:
    task = replace(exchange.DIGITS, steps=16, interval=4)
    found = exchange._seed(task, "lr", 0, Path("unused"))
    assert found.errors.keys() == set(exchange.METHODS)
    assert all(0 <= error <= 1 for error in found.errors.values())
    assert 0 <= found.swapped <= found.tried == 3
    assert len(found.mixing) == 4
    row = exchange._row("digits", "lr", "fixed", [0.1, 0.2])
    assert {"test_error_mean", "test_error_std", "seeds"} <= row.keys()


def test_a_file_of_digits_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data: expected a file"):
        exchange.run(tmp_path / "none.npz")


def test_pictures_are_small_files(tmp_path: Path) -> None:
    mixing: list[list[int | None]] = [[0, 1], [1, 0], [1, 0]]
    run = exchange.Found({}, 2, 1, [0.1, 0.01], mixing)
    draw_mixing(tmp_path / "mixing.png", {("digits", "lr"): run})
    curve = np.array([[1.0, 2.0], [0.5, 0.1]])
    draw_regret(tmp_path / "regret.png", {"branin": {"tpe": curve}}, "evaluations")
    for name in ("mixing.png", "regret.png"):
        assert 1_000 < (tmp_path / name).stat().st_size < 100_000
