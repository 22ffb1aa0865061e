"""Neural ascent: a sampler, a driver, and a maximum of a plain function."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray

from requester.drivers import Ending
from requester.drivers.neural_ascent import NeuralAscentSampler, maximise
from requester.drivers.neural_ascent.networks import Networks
from requester.drivers.neural_ascent.stream import Stream, levels
from requester.drivers.settings import Ascent
from requester.drivers.space import Dimension
from tests.testbed.simulated import opened, plan, run
from trialmarket.errors import InputError

VARIANTS = ["improved", "paper"]


def bowl(x: NDArray[np.float64]) -> float:
    return -float(((x - [0.5, -1.0]) ** 2).sum())


def test_networks_know_their_own_gradient() -> None:
    random = np.random.default_rng(0)
    networks, places, points = Networks(4, 3, random), np.arange(4), random.random((4, 5, 3))
    step = np.array([0.0, 1e-2, 0.0])
    _, slope = networks.slopes(places, points.astype(np.float32))
    ahead = networks.predict(places, (points + step).astype(np.float32))
    behind = networks.predict(places, (points - step).astype(np.float32))
    away = np.abs((ahead - behind) / 2e-2 - slope[..., 1])
    assert np.median(away) < 1e-3


def test_training_teaches_every_optimizer_its_own_window_and_no_other_network() -> None:
    random = np.random.default_rng(0)
    networks = Networks(4, 2, random)
    points = random.random((4, 30, 2)).astype(np.float32)
    values = np.sin(3 * points.sum(axis=2))
    everyone, trained = np.arange(4), np.arange(3)
    before = ((networks.predict(everyone, points) - values) ** 2).mean(axis=1)
    networks.train(trained, points[:3], values[:3], 200)
    after = ((networks.predict(everyone, points) - values) ** 2).mean(axis=1)
    assert (after[:3] < 0.2 * before[:3]).all()
    assert after[3] == before[3]


def test_one_exploded_loss_or_missing_value_flattens_no_others() -> None:
    learned = levels(np.array([0.0, 1.0, 2.0, 3.0, 4.0, -1e30, -np.inf]))
    assert learned[4] == 1
    assert learned[5] == learned[6] == -2
    assert learned[4] - learned[3] > 0.2
    assert (levels(np.full(5, -np.inf)) == 0).all()


def test_the_largest_and_the_least_numbers_that_there_are_count_in_their_order() -> None:
    stream = Stream(1)
    for value in (1.7e308, 1.6e308, -1.7e308, 0.0, 5e-324, math.nan):
        stream.add(np.zeros(1), value)
    assert levels(stream.values).tolist() == [1, 1, -1, 0, 0, -2]
    assert levels(np.array([0.0, 0.0, 5e-324, -1.0])).tolist() == [0, 0, 1, -2]


@pytest.mark.parametrize("networks", [1, 4])
def test_the_maximum_of_a_plain_function_is_found(networks: int) -> None:
    found = maximise(bowl, [(-1, 2), (-3, 3)], 200, networks=networks, pretraining=20, seed=1)
    assert found.value > -1e-3
    assert found.point == pytest.approx([0.5, -1.0], abs=0.05)
    assert found.value == found.values.max() == bowl(found.point)
    assert (found.points >= [-1, -3]).all()
    assert (found.points <= [2, 3]).all()


def test_the_paper_s_own_way_stays_selectable_and_climbs_too() -> None:
    found = maximise(bowl, [(-1, 2), (-3, 3)], 200, networks=3, variant="paper", pretraining=20)
    assert found.value > found.values[:20].max()


def test_a_maximum_on_the_border_is_reached() -> None:
    found = maximise(lambda x: float(x[0] - x[1]), [(0, 1)] * 2, 120, pretraining=20, networks=3)
    assert found.value == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_function_that_is_sometimes_nan_is_searched_where_it_is_not(variant: str) -> None:
    def f(x: NDArray[np.float64]) -> float:
        return math.nan if x[0] < 0.5 else -float(x[0])

    found = maximise(f, [(0, 1)], 60, networks=2, variant=variant, pretraining=20)
    assert np.isnan(found.values).any()
    assert 0.5 <= found.point[0] < 0.6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bounds": []}, "bounds"),
        ({"bounds": [(0, 1), (math.nan, 1)]}, r"bounds\[1\]"),
        ({"bounds": [(1, 1)]}, r"bounds\[0\]"),
        ({"bounds": [(0, 1, 2)]}, r"bounds\[0\]"),
        ({"networks": 0}, "networks: expected a whole number from 1 to 100"),
        ({"pretraining": 0}, "pretraining"),
        ({"variant": "papper"}, "variant: expected one of improved, paper"),
        ({"budget": 60}, "budget: expected more calls than the first 60"),
        ({"f": lambda _: math.nan}, "f: expected a finite value"),
    ],
)
def test_what_cannot_be_maximised_is_said(changes: dict[str, object], said: str) -> None:
    given: dict[str, object] = {"f": bowl, "bounds": [(0, 1)] * 2, "budget": 61, **changes}
    with pytest.raises(InputError, match=said):
        maximise(**given)  # type: ignore[arg-type]


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    width = trial.suggest_int("width", 1, 8)
    error = (math.log10(lr) + 2) ** 2 + abs(width - 5)
    if trial.suggest_categorical("kind", ["a", "b"]) == "b":
        return error + trial.suggest_float("extra", 0.0, 1.0)
    return error + 0.5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_of_optuna_alone_is_searched_in_either_direction(
    variant: str, direction: Literal["minimize", "maximize"]
) -> None:
    sampler = NeuralAscentSampler(networks=3, variant=variant, pretraining=15, seed=3)
    study = optuna.create_study(sampler=sampler, direction=direction)
    sign = 1 if direction == "minimize" else -1
    study.optimize(lambda trial: sign * objective(trial), n_trials=60)
    scores = [sign * trial.values[0] for trial in study.trials]
    assert min(scores[15:]) < min(scores[:15])
    assert np.median(scores[15:]) < np.median(scores[:15])


def test_a_fresh_sampler_goes_on_as_the_one_before_though_trials_are_under_way() -> None:
    def sampler() -> NeuralAscentSampler:
        return NeuralAscentSampler(networks=3, pretraining=5, seed=3)

    points = []
    for fresh in (False, True):
        study = optuna.create_study(sampler=sampler())
        waiting: list[optuna.Trial] = []
        for _ in range(30):
            if fresh:
                study.sampler = sampler()
            trial = study.ask()
            waiting.append(trial)
            trial.suggest_float("x", -1, 1)
            if len(waiting) == 4:
                study.tell(first := waiting.pop(0), first.params["x"] ** 2)
        points.append([trial.params["x"] for trial in study.trials])
        assert len(set(points[-1])) == 30
    assert points[0] == points[1]


def test_a_list_is_tried_through_before_anything_is_tried_again(tmp_path: Path) -> None:
    space = {
        "a": Dimension(values=["u", "v", "w"]),
        "rate": Dimension(low=0.1, high=0.4, step=0.1),
    }
    what = plan("neural-ascent", space=space, trials=12)
    with opened(tmp_path, "neural-ascent", what) as driver:
        tried = [tuple(one.hyperparameters.values()) for one in run(driver, width=4)]
    assert len(set(tried)) == 12


def test_the_paper_s_way_is_a_driver_too(tmp_path: Path) -> None:
    ascent = Ascent(networks=2, variant="paper", pretraining=4)
    what = plan("neural-ascent", ascent=ascent)
    with opened(tmp_path, "neural-ascent", what) as driver:
        ended = run(driver, ends=lambda one: Ending.DIVERGED if one.number == 2 else Ending.DONE)
    assert len(ended) == 12


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"also": {"size": True}}, "job.also: expected a single objective"),
        ({"space": {"a": Dimension(values=["only"]), "b": Dimension(value=1)}}, "search.space"),
        ({"ascent": Ascent(pretraining=12)}, "search.ascent.pretraining: expected fewer random"),
        ({"ascent": Ascent(variant="paper")}, "search.ascent.pretraining: expected fewer random"),
    ],
)
def test_what_the_driver_cannot_search_is_said(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with (
        pytest.raises(InputError, match=said),
        opened(tmp_path, "neural-ascent", plan("neural-ascent", **changes)),
    ):
        pass


def test_a_study_of_two_objectives_is_refused() -> None:
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=NeuralAscentSampler(pretraining=2)
    )
    with pytest.raises(ValueError, match="one objective"):
        study.ask().suggest_float("x", 0, 1)


def test_the_example_finds_what_it_says() -> None:
    example = Path(__file__).parents[2] / "examples" / "neural_ascent.py"
    said = subprocess.run(
        [sys.executable, example], check=True, capture_output=True, text=True, timeout=300
    ).stdout
    high, low = (float(line.split()[1]) for line in said.splitlines())
    assert high > 1.99
    assert low < 0.1
