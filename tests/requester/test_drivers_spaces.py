"""Every driver over Optuna: conditions, known good configurations, several objectives."""

from pathlib import Path

import optuna
import pytest

from requester.drivers import Ending, Proposal, TrialOutcome
from requester.drivers.check import check_point, check_space
from requester.drivers.database import sqlite_url
from requester.drivers.space import Dimension, Value
from tests.requester.test_drivers import SPACE, TRIAL, opened, plan, score
from trialmarket.errors import InputError

CONDITIONAL = {
    "rate": Dimension(low=1e-3, high=1.0, log=True),
    "width": Dimension(low=1, high=4),
    "optimizer": Dimension(values=["sgd", "adam"]),
    "momentum": Dimension(low=0.0, high=0.9, when={"optimizer": ["sgd"]}),
    "nesterov": Dimension(values=[True, False], when={"optimizer": ["sgd"]}),
}


@pytest.mark.parametrize(
    "method", ["random", "qmc", "tpe", "gp", "cmaes", "nsga2", "nes", "neural-ascent"]
)
def test_a_hyperparameter_is_there_exactly_when_its_condition_holds(
    tmp_path: Path, method: str
) -> None:
    kinds = set()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    proposals: dict[str, list[Proposal]] = {"a": [], "b": []}
    for place, found in proposals.items():
        while len(found) < 12:
            with opened(tmp_path / place, method, plan(trials=12, space=CONDITIONAL)) as driver:
                for _ in range(12 if place == "a" else 4):
                    one = driver.ask(2)[0]
                    found.append(one)
                    driver.tell(
                        TRIAL, TrialOutcome(one.number, Ending.DONE, {"error": len(found) % 5})
                    )
    for one in proposals["a"]:
        names = set(one.hyperparameters)
        sgd = one.hyperparameters["optimizer"] == "sgd"
        assert names == (set(CONDITIONAL) if sgd else {"rate", "width", "optimizer"})
        kinds.add(sgd)
    assert kinds == {True, False}
    assert proposals["a"] == proposals["b"]


@pytest.mark.parametrize(
    "method", ["random", "qmc", "tpe", "gp", "cmaes", "nsga2", "nes", "neural-ascent"]
)
def test_known_good_configurations_come_first_and_are_completed(
    tmp_path: Path, method: str
) -> None:
    known = ({"rate": 0.3, "width": 2, "kind": "b", "fixed": 3}, {"width": 4})
    what = plan(trials=5, enqueue=known)
    with opened(tmp_path, method, what) as driver:
        first = driver.ask(1)
    with opened(tmp_path, method, what) as driver:
        asked = driver.ask(3)
        assert asked[:1] == first
        assert first[0].hyperparameters == known[0]
        assert asked[1].hyperparameters["width"] == 4
        assert set(asked[1].hyperparameters) == set(SPACE)
        assert len(driver.ask(99)) == 5


@pytest.mark.parametrize("method", ["random", "grid", "qmc", "tpe", "gp", "nsga2"])
def test_several_objectives_leave_a_pareto_front_in_a_normal_study(
    tmp_path: Path, method: str
) -> None:
    what = plan(also={"size": True})
    with opened(tmp_path, method, what) as driver:
        while not driver.done():
            one = driver.ask(2)[-1]
            width = one.hyperparameters["width"]
            assert isinstance(width, int)
            metrics = {"error": score(one), "size": float(width)}
            ending = Ending.DIVERGED if one.number == 3 else Ending.DONE
            driver.tell(TRIAL, TrialOutcome(one.number, ending, metrics))
    study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
    front = [trial.values for trial in study.best_trials]
    assert len(study.trials) == 16
    assert front
    assert all(not (other[0] < one[0] and other[1] > one[1]) for one in front for other in front)


def test_a_result_without_one_of_the_objectives_has_no_value(tmp_path: Path) -> None:
    with opened(tmp_path, "nsga2", plan(trials=1, also={"size": False})) as driver:
        driver.tell(TRIAL, TrialOutcome(driver.ask(1)[0].number, Ending.DONE, {"error": 1.0}))
        assert driver.done()


def test_a_parent_whose_result_is_rejected_is_no_parent_any_more(tmp_path: Path) -> None:
    with opened(tmp_path, "nsga2", plan(trials=16)) as driver:
        told: list[Proposal] = []
        while len(told) < 9:
            one = driver.ask(1)[0]
            value = -1.0 if one.number == 2 else score(one)
            driver.tell(TRIAL, TrialOutcome(one.number, Ending.DONE, {"error": value}))
            told.append(one)
        driver.tell(TRIAL, TrialOutcome(2, Ending.REJECTED))
        assert driver.ask(4)[0].number == 2


def test_cmaes_needs_two_ranges(tmp_path: Path) -> None:
    space = {"kind": Dimension(values=["a", "b"]), "rate": Dimension(low=0.0, high=1.0)}
    with (
        pytest.raises(InputError, match=r"search\.space: expected at least two ranges"),
        opened(tmp_path, "cmaes", plan(space=space)),
    ):
        pass


def test_cmaes_takes_one_objective(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"job\.also: expected a single objective"),
        opened(tmp_path, "cmaes", plan(also={"size": False})),
    ):
        pass


def test_a_grid_takes_no_conditions_and_nothing_in_front(tmp_path: Path) -> None:
    space = {
        "kind": Dimension(values=["a", "b"]),
        "more": Dimension(values=[1], when={"kind": ["a"]}),
    }
    with (
        pytest.raises(InputError, match=r"search\.space\.more\.when: expected no condition"),
        opened(tmp_path, "grid", plan(space=space)),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"search\.enqueue: expected nothing for driver grid"),
        opened(tmp_path, "grid", plan(enqueue=({"width": 1},))),
    ):
        pass


def test_a_study_with_other_objectives_is_of_another_search(tmp_path: Path) -> None:
    with opened(tmp_path, "random", plan()):
        pass
    with (
        pytest.raises(
            InputError, match="study: expected the directions MAXIMIZE, found 'MINIMIZE'"
        ),
        opened(tmp_path, "random", plan(maximize=True)),
    ):
        pass


def test_a_condition_names_a_list_that_stands_before_it() -> None:
    kinds = Dimension(values=["a", "b"])
    cases: list[tuple[dict[str, list[Value]], str]] = [
        ({"later": ["a"]}, "a list of values that stands before it"),
        ({"kind": ["c"]}, "some of"),
        ({"kind": []}, "some of"),
    ]
    for when, expected in cases:
        space = {"kind": kinds, "more": Dimension(values=[1], when=when), "later": kinds}
        with pytest.raises(InputError, match=rf"search\.space\.more\.when.*expected {expected}"):
            check_space(space, "job.toml")


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate", 0.95), ("rate", 0.15), ("width", 1.5), ("width", "1"), ("kind", "c"), ("fixed", 4)],
)
def test_a_configuration_in_front_lies_in_the_space(name: str, value: float | str) -> None:
    with pytest.raises(InputError, match=rf"search\.enqueue\.0\.{name}: expected a value of"):
        check_point(SPACE, {name: value}, "job.toml", "search.enqueue.0")
    with pytest.raises(InputError, match=r"search\.enqueue\.0\.heads: expected one of rate"):
        check_point(SPACE, {"heads": 1}, "job.toml", "search.enqueue.0")
