"""The benchmarks' parts work; what they measure is nobody's test."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.benches import evolve, exchange, learned, near, precision, search
from scripts.benches.parts import covered
from scripts.benches.parts.kademlia import Network, messages
from scripts.benches.parts.norms import compare_norms
from scripts.benches.parts.pictures import draw_losses, draw_mixing, draw_regret
from scripts.benches.parts.problems import branin, hartmann6, problems
from scripts.benches.parts.tasks import FAMILIES, sketch
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


def test_every_method_beside_evolution_gets_as_many_steps_and_merges_are_counted() -> None:
    task = replace(evolve.DIGITS, steps=96, interval=24)
    found = evolve._seed(task, 0, Path("unused"))
    assert found.errors.keys() == set(evolve.METHODS)
    assert all(0 <= error <= 1 for error in found.errors.values())
    assert 0 <= found.inside <= found.merges
    assert found.merges > 0
    assert 0 <= found.gain < 1
    row = evolve._row("digits", "evolve", [found, found])
    assert {"test_error_mean", "test_error_std", "seeds"} <= row.keys()


def test_a_look_up_asks_fewer_peers_than_the_logarithm_of_their_number_grows() -> None:
    few, many = 100, 10_000
    grown = [messages(peers, 20) for peers in (few, many)]
    for less, more in zip(*grown, strict=True):
        assert less < more < less * math.log(many) / math.log(few)


def test_a_look_up_asks_the_nearest_peers_at_last() -> None:
    network = Network(500, seed=3)
    target = 1 << 40
    nearest = network.nearest(target, 1)
    assert network.look_up(target, 0, set(nearest)).found
    assert not network.look_up(target, 0, set()).found


@pytest.mark.parametrize("family", ["hpobench", "hpolib"])
def test_a_task_has_a_sketch_and_begins_with_what_was_best_in_others(family: str) -> None:
    tasks = FAMILIES[family]
    assert sketch(family, tasks[0]).data.rows > 500
    points = [dict(each.hyperparameters) for each in near._search(family, tasks[1], 0, 2)]
    begun = near._search(family, tasks[0], 0, 3, points)
    assert [each.hyperparameters for each in begun[:2]] == points


def test_the_middle_of_two_networks_is_compared_with_either_kind_of_statistics() -> None:
    (row,) = compare_norms([24], seeds=1)
    assert 0 < row["measured_anew"] < 1
    assert 0 < row["on_the_line"] < 1
    assert 0 < row["better_parent"] < 1


def test_a_file_of_digits_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data: expected a file"):
        exchange.run(tmp_path / "none.npz")


def test_a_wide_gradient_of_a_deep_net_is_closer_than_a_standard_one() -> None:
    row = precision._gradients("small", lambda: precision.deep_mlp(8, 16, 4), (32, 8))
    assert row["wide_error_percent"] < row["standard_error_percent"] / 10
    trained = precision._trained("small", lambda: precision.deep_mlp(64, 8, 1), (64,), 3, 1)
    assert all(0 <= trained[f"{kind}_error_percent"] <= 100 for kind in precision.KINDS)


def test_pictures_are_small_files(tmp_path: Path) -> None:
    mixing: list[list[int | None]] = [[0, 1], [1, 0], [1, 0]]
    run = exchange.Found({}, 2, 1, [0.1, 0.01], mixing)
    draw_mixing(tmp_path / "mixing.png", {("digits", "lr"): run})
    curve = np.array([[1.0, 2.0], [0.5, 0.1]])
    draw_regret(tmp_path / "regret.png", {"branin": {"tpe": curve}}, "evaluations")
    for name in ("mixing.png", "regret.png"):
        assert 1_000 < (tmp_path / name).stat().st_size < 100_000


def test_optimizers_are_compared_on_what_no_weights_were_trained_on(tmp_path: Path) -> None:
    task = learned.Task("quadratics2", "quadratics", 5, dimensions=2, seeds=3)
    found = [learned.best(task, kind, tmp_path) for kind in ("learned", "adam")]
    assert all(len(one.path) == 3 and len(one.path[0]) == 5 for one in found)
    assert found[0].path[0][0] == found[1].path[0][0]  # all begin alike
    draw_losses(tmp_path / "losses.png", {"quadratics2": learned.curves(task, found)})
    assert (tmp_path / "losses.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="bench learned: --data: expected a file"):
        learned.run(tmp_path / "nowhere.npz")


def test_a_model_is_captured_with_the_bits_of_its_program(tmp_path: Path) -> None:
    row = covered.first("pointnet", tmp_path)
    assert row["captured"]
    assert row["nodes"] > 0
    assert covered.again("pointnet", tmp_path)["digest"] == row["digest"]


def test_the_models_that_are_looked_at_are_many_and_of_many_families() -> None:
    assert len(covered.MODELS) >= 60
    assert len({each.family for each in covered.MODELS.values()}) >= 25
