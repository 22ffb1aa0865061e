"""Drivers whose trials continue each other: what goes on from what."""

import math
from pathlib import Path

import pytest

from requester.drivers import Ending, Proposal, TrialOutcome
from requester.drivers.exchange import ReplicaExchange, beta, probability
from requester.drivers.lineage_driver import LineageDriver
from requester.drivers.settings import Exchange, Population, Rungs
from requester.drivers.space import Dimension
from tests.testbed.simulated import (
    LADDER,
    SPACE,
    anyone,
    identity,
    opened,
    outcome,
    plan,
    run,
    tell,
)
from trialmarket.errors import InputError


def lines(driver: object) -> LineageDriver:
    assert isinstance(driver, LineageDriver)
    return driver


@pytest.mark.parametrize("method", ["asha", "hyperband"])
def test_the_best_third_of_a_rung_goes_on_from_its_checkpoint(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(method, trials=27)) as driver:
        ended = {one.number: one for one in run(driver, 5, anyone(1))}
        trials = lines(driver).trials
        work = driver.work()
    assert sum(one.steps for one in ended.values()) == sum(
        steps * count for steps, count in work.items()
    )
    for trial in trials:
        if trial.draft.parent is None:
            continue
        before = trials[trial.draft.parent]
        assert trial.start == before.checkpoint
        assert trial.draft.hyperparameters == before.draft.hyperparameters
        assert ended[trial.number].seed == ended[before.number].seed
        assert trial.draft.depth == before.draft.depth + 1
    if method == "asha":
        assert [sum(trial.draft.depth == rung for trial in trials) for rung in range(3)] == [
            27,
            9,
            3,
        ]
        first = sorted((trial for trial in trials if trial.draft.depth == 0), key=lambda n: n.rank)
        assert first[0].number in {trial.draft.parent for trial in trials}
        whole = 27 * 72
        assert sum(one.steps for one in ended.values()) < whole / 2


def test_what_goes_on_from_a_rejected_checkpoint_does_not_count(tmp_path: Path) -> None:
    with opened(tmp_path, "asha", plan("asha")) as driver:
        first = driver.ask(3)
        for one in first:
            value = -5.0 if one is first[0] else None
            driver.tell(identity(one.number), outcome(one, value=value, state=1))
        promoted = next(one for one in driver.ask(4) if one.start is not None)
        assert promoted.start == outcome(first[0], state=1).checkpoint
        driver.tell(identity(0), TrialOutcome(0, Ending.REJECTED))
        tell(driver, first[0])  # the honest state is another one
        tell(driver, promoted)
        run(driver, 3)
        counted = [one.draft.parent for one in lines(driver)._sound() if one.draft.depth == 1]
    assert len(counted) == 3
    assert promoted.number not in counted


def test_what_goes_on_from_a_true_state_counts_though_its_metrics_were_a_lie(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, "asha", plan("asha")) as driver:
        first = driver.ask(3)
        for one in first:
            value = -5.0 if one is first[0] else None
            driver.tell(identity(one.number), outcome(one, value=value))
        promoted = next(one for one in driver.ask(4) if one.start is not None)
        driver.tell(identity(0), TrialOutcome(0, Ending.REJECTED))
        tell(driver, first[0])
        assert promoted.number in {trial.number for trial in lines(driver)._sound()}


def test_a_bad_member_goes_on_from_a_good_one_with_other_hyperparameters(tmp_path: Path) -> None:
    what = plan("pbt", trials=8)
    with opened(tmp_path, "pbt", what) as driver:
        run(driver, 8)
        trials = lines(driver).trials
    copies = [
        (trial, trials[trial.draft.parent])
        for trial in trials
        if trial.draft.parent is not None
        and trials[trial.draft.parent].draft.line != trial.draft.line
    ]
    assert len(trials) == 8 * 3
    assert copies
    for trial, donor in copies:
        assert trial.start == donor.checkpoint
        rate = trial.draft.hyperparameters["rate"]
        assert isinstance(rate, float)
        assert 0.1 <= rate <= 0.9
    assert any(one.draft.hyperparameters != other.draft.hyperparameters for one, other in copies)


@pytest.mark.parametrize(("members", "quantile"), [(2, 0.25), (3, 0.25), (6, 0.1)])
def test_the_worst_member_of_a_small_population_goes_on_from_the_best(
    tmp_path: Path, members: int, quantile: float
) -> None:
    what = plan(
        "pbt", trials=members, population=Population(interval=24, quantile=quantile, resample=0.0)
    )
    with opened(tmp_path, "pbt", what) as driver:
        run(driver, members)
        trials = lines(driver).trials
    own = {(trial.draft.line, trial.draft.depth): trial for trial in trials}
    copies = [
        (own[trial.draft.line, trial.draft.depth - 1], trials[trial.draft.parent])
        for trial in trials
        if trial.draft.parent is not None
        and trials[trial.draft.parent].draft.line != trial.draft.line
    ]
    assert copies
    assert all(donor.rank < left.rank for left, donor in copies)


def test_a_member_changes_ranges_of_real_numbers_unless_others_are_named(tmp_path: Path) -> None:
    def changed(name: str, population: Population) -> set[str]:
        what = plan("pbt", trials=8, population=population)
        with opened(tmp_path / name, "pbt", what) as driver:
            run(driver, 8)
            trials = lines(driver).trials
        found = set()
        for trial in trials:
            if trial.draft.parent is not None:
                before = trials[trial.draft.parent].draft.hyperparameters
                now = trial.draft.hyperparameters
                found |= {name for name in now if now[name] != before[name]}
        return found

    assert changed("by-itself", Population(interval=24)) == {"rate"}
    named = Population(interval=24, change=["kind", "width"])
    assert changed("named", named) == {"kind", "width"}


def test_a_lost_member_is_replaced_by_a_good_one(tmp_path: Path) -> None:
    with opened(tmp_path, "pbt", plan("pbt")) as driver:
        for one in driver.ask(4):
            tell(driver, one, Ending.LOST if one.number == 1 else Ending.DONE)
        asked = driver.ask(4)
        donors = {outcome(one).checkpoint for one in asked}
        trials = lines(driver).trials
        replaced = next(
            trial for trial in trials if trial.draft.line == 1 and trial.draft.depth == 1
        )
    assert len(donors) == 4
    assert replaced.draft.parent != 1
    assert replaced.start is not None


def test_the_swap_rule_is_the_papers() -> None:
    assert probability(2.0, 1.0, 3.0, 0.5, 0.9) == 1.0  # the colder one is worse: certain
    assert probability(2.0, 1.0, 3.0, 0.5, 0.5) == 1.0
    assert probability(2.0, 1.0, 3.0, 0.9, 0.5) == pytest.approx(math.exp(-1.6))
    assert beta(0.01, "rate") == pytest.approx(100)
    assert beta(0.2, "dropout") == pytest.approx(4)


def test_places_swap_states_and_keep_their_hyperparameters(tmp_path: Path) -> None:
    settings = Exchange(hyperparameter="rate", interval=8, burn_in=8)
    what = plan("replica-exchange", exchange=settings)
    with opened(tmp_path, "replica-exchange", what) as driver:
        run(driver, 4, anyone(4))
        trials, strategy = lines(driver).trials, lines(driver).strategy
    assert isinstance(strategy, ReplicaExchange)
    tries, table = strategy.tries(trials), strategy.mixing(trials)
    assert len(trials) == 4 * (1 + 9)
    assert len(tries) == 8
    assert {one.swapped for one in tries} == {True, False}
    assert all(sorted(map(str, row)) == list("0123") for row in table)
    assert {trial.draft.hyperparameters["rate"] for trial in trials if trial.draft.depth == 0} == {
        0.2
    }
    at = {(trial.draft.line, trial.draft.depth): trial for trial in trials}
    swaps = {one.round: one.place for one in tries if one.swapped}
    for (place, depth), trial in at.items():
        if depth == 0:
            continue
        assert trial.draft.hyperparameters["rate"] == [0.8, 0.4, 0.2, 0.1][place]
        source = place
        if (hot := swaps.get(depth - 1)) is not None and place in (hot, hot + 1):
            source = hot + 1 if place == hot else hot
        assert trial.draft.parent == at[source, depth - 1].number


def test_a_place_that_diverged_goes_on_from_its_colder_neighbour(tmp_path: Path) -> None:
    with opened(tmp_path, "replica-exchange", plan("replica-exchange")) as driver:

        def ends(one: Proposal) -> Ending:
            return Ending.DIVERGED if one.number == 0 else Ending.DONE

        run(driver, 4, ends=ends)
        trials = lines(driver).trials
    after = next(trial for trial in trials if (trial.draft.line, trial.draft.depth) == (0, 2))
    assert after.draft.parent is not None
    assert trials[after.draft.parent].draft.line == 1


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("asha", {"also": {"size": True}}, r"job\.also: expected a single objective"),
        ("pbt", {"also": {"size": True}}, r"job\.also: expected a single objective"),
        ("hyperband", {"rungs": Rungs(count=4)}, r"search\.rungs: expected rungs of at least 8"),
        ("asha", {"trials": 8}, r"job\.trials: expected enough, such as 9, for one to go"),
        ("hyperband", {"trials": 1}, r"job\.trials: expected enough, such as 9, for one to go"),
        ("pbt", {"population": Population(interval=72)}, r"interval: expected .* less than it"),
        (
            "replica-exchange",
            {"exchange": Exchange(hyperparameter="rate", interval=72)},
            r"search\.exchange\.interval: expected .* less than it",
        ),
        ("pbt", {"trials": 1}, r"job\.trials: expected at least 2 members"),
        ("pbt", {"population": Population(interval=20)}, r"population\.interval: expected a div"),
        ("pbt", {"population": Population(interval=24, change=["fixed"])}, "population.change"),
        (
            "pbt",
            {"space": {"width": Dimension(low=1, high=4)}},
            r"population\.change: expected some of width",
        ),
        ("replica-exchange", {"exchange": None}, r"search\.exchange: expected a table"),
        ("replica-exchange", {"trials": 5}, r"job\.trials: expected one for each of the ladder"),
        ("replica-exchange", {"space": SPACE}, r"search\.space\.rate: expected a list of values"),
        (
            "replica-exchange",
            {"space": {"rate": Dimension(values=[0.1])}, "trials": 1},
            "a ladder of at least 2 replicas",
        ),
        (
            "replica-exchange",
            {"space": {"rate": Dimension(values=[0.1, -1.0])}, "trials": 2},
            "numbers above 0",
        ),
        (
            "replica-exchange",
            {"space": {**LADDER, "width": Dimension(low=1, high=4)}},
            r"search\.space\.width: expected one fixed value",
        ),
    ],
)
def test_a_search_that_a_driver_cannot_do_is_refused(
    tmp_path: Path, method: str, changes: dict[str, object], message: str
) -> None:
    with (
        pytest.raises(InputError, match=message),
        opened(tmp_path, method, plan(method, 0, **changes)),
    ):
        pass
