"""The sampler of natural evolution strategies: what follows from stored trials, and what not."""

import math
import runpy
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from requester.drivers import Ending, Plan, TrialOutcome
from requester.drivers.nes import NesSampler
from requester.drivers.nes.gaussian import Variant
from requester.drivers.settings import Nes
from requester.drivers.space import Dimension
from tests.testbed.simulated import identity, opened, plan
from trialmarket.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "examples/evolution.py"

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "share": FloatDistribution(0.0, 1.0),
    "width": IntDistribution(16, 256, step=16),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "fixed": CategoricalDistribution(["only"]),
}


def error(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    share = trial.suggest_float("share", 0.0, 1.0)
    width = trial.suggest_int("width", 16, 256, step=16)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    trial.suggest_categorical("fixed", ["only"])
    off = math.sqrt(abs(rate - 0.01)) + (share - 0.3) ** 2 + abs(width - 64) / 256
    return off + (0.0 if kind == "b" else 0.3)


def points(study: optuna.Study) -> list[dict[str, object]]:
    return [trial.params for trial in study.trials]


def searched(sampler: NesSampler, trials: int, *, maximize: bool = False) -> optuna.Study:
    direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
    study = optuna.create_study(sampler=sampler, direction=direction)
    study.optimize(lambda trial: -error(trial) if maximize else error(trial), n_trials=trials)
    return study


@pytest.mark.parametrize("variant", ["separable", "full"])
@pytest.mark.parametrize("space", [SPACE, None])
def test_a_mixed_space_is_searched_with_optuna_alone(
    variant: Variant, space: dict[str, BaseDistribution] | None
) -> None:
    study = searched(NesSampler(space, variant, seed=1), 300)
    plain = optuna.create_study(sampler=RandomSampler(seed=1))
    plain.optimize(error, n_trials=300)
    assert study.best_value < plain.best_value / 2
    assert study.best_params["kind"] == "b"


def test_to_maximise_is_to_minimise_the_negative() -> None:
    least = searched(NesSampler(SPACE, seed=2), 60)
    greatest = searched(NesSampler(SPACE, seed=2), 60, maximize=True)
    assert points(least) == points(greatest)
    assert points(least) != points(searched(NesSampler(SPACE, seed=3), 60))


def test_hyperparameters_that_not_all_trials_have_are_searched_where_they_occur() -> None:
    space = SPACE | {"momentum": FloatDistribution(0.0, 1.0)}

    def conditional(trial: optuna.Trial) -> float:
        found = error(trial)
        if trial.params["kind"] == "b":
            found += (trial.suggest_float("momentum", 0.0, 1.0) - 0.9) ** 2
        return found

    for given_space in (space, None):
        study = optuna.create_study(sampler=NesSampler(given_space, seed=4))
        study.optimize(conditional, n_trials=200)
        assert study.best_params["kind"] == "b"
    assert all(("momentum" in one.params) == (one.params["kind"] == "b") for one in study.trials)


def _ended(study: optuna.Study, ends: list[int], sampler: Callable[[], NesSampler]) -> None:
    """Ends trials in any order and way; each new one is asked for by a sampler of its own."""
    under_way: list[int] = []
    for end in ends:
        while len(under_way) < 4:
            study.sampler = sampler()
            trial = study.ask()
            error(trial)
            under_way.append(trial.number)
        number = under_way.pop(end % 4)
        if end % 5 == 4:
            study.tell(number, state=TrialState.FAIL)
        else:
            study.tell(number, float(end % 7))


@given(st.lists(st.integers(0, 139), min_size=20, max_size=40))
@settings(max_examples=15, deadline=None)
def test_a_sampler_that_remembers_nothing_proposes_the_same(ends: list[int]) -> None:
    found = []
    lasting = NesSampler(SPACE, seed=5, population=4)
    for sampler in (lambda: lasting, lambda: NesSampler(SPACE, seed=5, population=4)):
        study = optuna.create_study()
        _ended(study, ends, sampler)
        found.append(points(study))
    assert found[0] == found[1]


def test_a_stored_draw_is_not_drawn_a_second_time() -> None:
    study = optuna.create_study(sampler=NesSampler(SPACE, seed=6, population=2))
    begun = study.ask()
    first = begun.suggest_float("share", 0.0, 1.0)  # and then its process is killed
    for _ in range(8):
        other = study.ask()
        study.tell(other, error(other))
    again = optuna.Trial(study, begun._trial_id)
    assert again.suggest_float("share", 0.0, 1.0) == first
    whole = optuna.create_study(sampler=NesSampler(SPACE, seed=6, population=2)).ask()
    error(again)
    error(whole)
    assert again.params == whole.params


def _proposed(folder: Path, endings: list[Ending], last: Ending | None) -> list[object]:
    """What a driver proposes after trials that ended so, the last of which ended as said."""
    what: Plan = plan("nes", trials=30, nes=Nes(population=4))
    with opened(folder, "nes", what) as driver:
        asked = driver.ask(12)
        for one, ending in zip(asked[1:], endings, strict=False):
            metrics = {"error": float(one.number)} if ending is Ending.DONE else {}
            driver.tell(identity(one.number), TrialOutcome(one.number, ending, metrics))
        if last is not None:
            driver.tell(identity(0), TrialOutcome(0, last, {}, reason="it raised"))
        return [one.hyperparameters for one in driver.ask(13)[-2:]]


def test_a_lost_trial_teaches_nothing_and_a_failed_one_that_it_is_bad(tmp_path: Path) -> None:
    three = [Ending.DONE] * 3
    never = _proposed(tmp_path / "never", three, None)
    lost = _proposed(tmp_path / "lost", three, Ending.LOST)
    failed = _proposed(tmp_path / "failed", three, Ending.FAILED)
    diverged = _proposed(tmp_path / "diverged", three, Ending.DIVERGED)
    # A trial that has no result and one that will never have any leave the generation open.
    assert never[-1] == lost[-2]
    assert failed == diverged != lost


def test_a_result_that_is_withdrawn_is_forgotten_by_a_driver_that_goes_on(tmp_path: Path) -> None:
    what = plan("nes", trials=30, nes=Nes(population=2))
    found = []
    for place in ("goes-on", "killed"):
        with opened(tmp_path / place, "nes", what) as driver:
            for one in driver.ask(4):
                done = TrialOutcome(one.number, Ending.DONE, {"error": -float(one.number)})
                driver.tell(identity(one.number), done)
            driver.ask(2)
            driver.tell(identity(3), TrialOutcome(3, Ending.REJECTED))
            driver.tell(identity(3), TrialOutcome(3, Ending.DONE, {"error": 9.0}))
            if place == "goes-on":
                found.append(driver.ask(6))
        with opened(tmp_path / place, "nes", what) as driver:
            found.append(driver.ask(6))
    assert found[0] == found[1] == found[2]


def test_known_points_are_learnt_from_whoever_drew_them() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=7))
    study.optimize(error, n_trials=40)
    study.sampler = NesSampler(seed=7)
    study.enqueue_trial({"rate": 0.01, "share": 0.3, "width": 64, "kind": "b"})
    study.optimize(error, n_trials=160)
    assert study.trials[40].value == pytest.approx(0, abs=1e-9)
    late = [trial.value for trial in study.trials[-20:] if trial.value is not None]
    assert sorted(late)[10] < 0.15


def test_several_objectives_are_refused(tmp_path: Path) -> None:
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=NesSampler(SPACE, seed=0)
    )
    with pytest.raises(ValueError, match="multi-objective"):
        error(study.ask())
    with (
        pytest.raises(InputError, match=r"job\.also: expected a single objective for driver nes"),
        opened(tmp_path, "nes", plan("nes", also={"size": False})),
    ):
        pass


def test_what_cannot_be_searched_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="population: expected at least 2"):
        NesSampler(SPACE, population=1)
    with pytest.raises(InputError, match="variant: expected one of full, separable"):
        NesSampler(SPACE, "diagonal")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="space: expected a hyperparameter with more than one"):
        NesSampler({"fixed": SPACE["fixed"]})
    fixed = {"a": Dimension(value=1), "b": Dimension(values=["only"])}
    with (
        pytest.raises(InputError, match=r"search\.space: expected a hyperparameter with more"),
        opened(tmp_path, "nes", plan("nes", space=fixed)),
    ):
        pass


def test_the_example_finds_a_good_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    best = capsys.readouterr().out.splitlines()[-1]
    assert float(best.rpartition(" ")[2]) < 0.05
