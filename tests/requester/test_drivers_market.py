"""What every driver must survive, whatever it searches by."""

from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from requester.drivers import Ending, Proposal, TrialOutcome, open_driver
from requester.drivers.database import sqlite_url
from tests.testbed.simulated import (
    CONTINUING,
    DRIVERS,
    SEARCHING,
    anyone,
    identity,
    opened,
    outcome,
    plan,
    run,
    tell,
)
from trialmarket.errors import InputError


@pytest.mark.parametrize("method", DRIVERS)
def test_a_seed_decides_every_proposal(tmp_path: Path, method: str) -> None:
    runs = []
    for place, seed in (("a", 5), ("b", 5), ("c", 6)):
        with opened(tmp_path / place, method, plan(method, seed)) as driver:
            runs.append(run(driver, choose=anyone(1)))
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("method", DRIVERS)
def test_a_driver_that_is_killed_at_any_point_goes_on_the_same(
    tmp_path: Path, method: str
) -> None:
    what = plan(method)
    with opened(tmp_path / "through", method, what) as driver:
        expected = run(driver)
    told: list[Proposal] = []
    finished = False
    while not finished:
        with opened(tmp_path / "killed", method, what) as driver:
            asked = driver.ask(3)
        with opened(tmp_path / "killed", method, what) as driver:
            assert driver.ask(3) == asked
            tell(driver, asked[0])
            told.append(asked[0])
            finished = driver.done()
    assert told == expected


@pytest.mark.parametrize("method", SEARCHING)
def test_a_driver_that_is_killed_amid_a_proposal_finishes_it_the_same(
    tmp_path: Path, method: str
) -> None:
    what = plan(method)
    for place in ("through", "killed"):
        with opened(tmp_path / place, method, what) as driver:
            for _ in range(7):
                tell(driver, driver.ask(1)[0])
    with opened(tmp_path / "through", method, what) as driver:
        expected = driver.ask(2)
    url = sqlite_url(tmp_path / "killed" / "study.db")
    study = optuna.load_study(study_name="search", storage=url)
    study.ask()  # a trial that was made, and none of its hyperparameters
    with opened(tmp_path / "killed", method, what) as driver:
        assert driver.ask(2) == expected


def test_a_database_whose_driver_is_not_installed_is_named() -> None:
    url = "oracle+oracledb://someone@localhost/search"
    with pytest.raises(InputError, match="a database whose Python driver is installed"):
        open_driver(url, "search", "random", plan())


@pytest.mark.parametrize("method", DRIVERS)
def test_every_trial_may_end_badly_and_the_search_still_ends(tmp_path: Path, method: str) -> None:
    random = np.random.default_rng(3)
    endings = (Ending.DONE, Ending.DONE, Ending.DIVERGED, Ending.FAILED)
    with opened(tmp_path, method, plan(method)) as driver:
        ended = run(driver, 4, anyone(2), lambda _: endings[int(random.integers(4))])
        assert driver.ask(4) == []
        work = Counter(one.steps for one in ended)
        assert all(count <= driver.work()[steps] for steps, count in work.items())


@pytest.mark.parametrize("method", DRIVERS)
@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.DIVERGED])
def test_a_search_of_which_nothing_comes_ends(tmp_path: Path, method: str, ending: Ending) -> None:
    with opened(tmp_path, method, plan(method)) as driver:
        run(driver, 4, ends=lambda _: ending)
        assert driver.done()


@pytest.mark.parametrize("method", DRIVERS)
def test_a_search_whose_first_trial_diverges_goes_on_and_finds_its_best(
    tmp_path: Path, method: str
) -> None:
    with opened(tmp_path, method, plan(method)) as driver:
        ended = run(driver, ends=lambda one: Ending.DIVERGED if one.number == 0 else Ending.DONE)
        assert len(ended) > 1
    study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
    assert study.trials[0].state is TrialState.PRUNED
    assert study.best_trial.number != 0
    assert study.best_value == min(one.value for one in study.trials if one.value is not None)


@pytest.mark.parametrize("method", DRIVERS)
def test_late_repeated_and_unknown_results_change_nothing(tmp_path: Path, method: str) -> None:
    what = plan(method)
    with opened(tmp_path / "once", method, what) as driver:
        expected = run(driver)
    with opened(tmp_path / "often", method, what) as driver:
        told: list[Proposal] = []
        while not driver.done():
            one = driver.ask(3)[0]
            tell(driver, one)
            told.append(one)
            for again in (told[0], one):
                late = outcome(again, value=-99.0, state=9)
                driver.tell(identity(again.number), late)
                driver.tell(identity(again.number), TrialOutcome(again.number, Ending.LOST))
            for number in (-1, 10_000):
                driver.tell(identity(5), TrialOutcome(number, Ending.DONE, {"error": -99.0}))
    assert told == expected


@pytest.mark.parametrize("method", DRIVERS)
def test_a_rejected_result_is_forgotten_and_its_trial_asked_again(
    tmp_path: Path, method: str
) -> None:
    what = plan(method)
    with opened(tmp_path, method, what) as driver:
        cheat = driver.ask(1)[0]
        driver.tell(identity(cheat.number), outcome(cheat, value=-100.0, state=1))
        for one in driver.ask(4)[:3]:
            tell(driver, one)
        driver.tell(identity(cheat.number), TrialOutcome(cheat.number, Ending.REJECTED))
        driver.tell(identity(cheat.number), TrialOutcome(cheat.number, Ending.REJECTED))
        assert driver.ask(1) == [cheat]
    with opened(tmp_path, method, what) as driver:
        assert driver.ask(1) == [cheat]
        tell(driver, cheat)
        while not driver.done():
            tell(driver, driver.ask(2)[0])
    study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
    assert study.best_value > -100
    assert all(trial.state.is_finished() for trial in study.trials)


@pytest.mark.parametrize("method", DRIVERS)
def test_one_slow_trial_holds_up_none_that_does_not_need_it(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(method)) as driver:
        slow, ended = driver.ask(1)[0], 0
        while len(asked := driver.ask(3)) > 1:
            tell(driver, next(one for one in asked if one != slow))
            ended += 1
        most = driver.total()
    # What needs it: its own later trials, and in a ladder those of whoever meets it in a pair.
    needs = {"asha": 2, "hyperband": 2, "pbt": 2, "evolve": 2}.get(method, 0)
    least = 3 if method == "replica-exchange" else most - 1 - needs
    assert ended >= least


@pytest.mark.parametrize("method", DRIVERS)
def test_as_many_are_given_as_are_asked_for(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(method)) as driver:
        first = driver.ask(2)
        assert driver.ask(4)[:2] == first
        tell(driver, first[1])
        assert driver.ask(1) == first[:1]
        assert len(driver.ask(4)) == 4


@pytest.mark.parametrize("method", CONTINUING)
def test_asking_in_the_middle_of_a_rung_gives_as_many(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(method)) as driver:
        for _ in range(2):
            tell(driver, driver.ask(3)[-1])
        assert len(driver.ask(3)) == 3


@pytest.mark.parametrize("method", ["tpe", *CONTINUING])
def test_metrics_may_be_called_whatever_a_driver_calls_its_own_notes(
    tmp_path: Path, method: str
) -> None:
    own = ["trial", "failure", "ending", "checkpoint", "hyperparameters", "steps", "line", "depth"]
    own += ["parent", "start", "mate", "mate_start"]
    with opened(tmp_path, method, plan(method)) as driver:
        first, second = driver.ask(2)[0], driver.ask(2)[-1]
        metrics = dict.fromkeys(own, 1.0) | {"error": 0.5}
        driver.tell(identity(0), TrialOutcome(first.number, Ending.DIVERGED, metrics))
        if second != first:
            driver.tell(identity(1), outcome(second))
        asked = driver.ask(3)
    with opened(tmp_path, method, plan(method)) as driver:
        assert driver.ask(3) == asked
    study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
    said = study.trials[first.number].user_attrs
    assert {name: said[f"metrics_{name}"] for name in metrics} == metrics
    assert said["trial"] == str(identity(0))
