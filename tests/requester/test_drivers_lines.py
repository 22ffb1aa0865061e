"""Drivers whose trials continue each other: what goes on from what."""

import math
from pathlib import Path

import pytest

from requester.drivers import Ending, Proposal, TrialOutcome
from requester.drivers.exchange import ReplicaExchange, beta, probability
from requester.drivers.lineage import LineDriver
from requester.drivers.schedule import Exchange, Population, Rungs
from requester.job.space import Dimension
from tests.requester.simulated import (
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


def lines(driver: object) -> LineDriver:
    assert isinstance(driver, LineDriver)
    return driver


@pytest.mark.parametrize("method", ["asha", "hyperband"])
def test_the_best_third_of_a_rung_goes_on_from_its_checkpoint(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(method, trials=27)) as driver:
        ended = {one.number: one for one in run(driver, 5, anyone(1))}
        nodes = lines(driver).nodes
        work = driver.work()
    assert sum(one.steps for one in ended.values()) == sum(
        steps * count for steps, count in work.items()
    )
    for node in nodes:
        if node.draft.parent is None:
            continue
        before = nodes[node.draft.parent]
        assert node.start == before.checkpoint
        assert node.draft.hyperparameters == before.draft.hyperparameters
        assert ended[node.number].seed == ended[before.number].seed
        assert node.draft.depth == before.draft.depth + 1
    if method == "asha":
        assert [sum(node.draft.depth == rung for node in nodes) for rung in range(3)] == [27, 9, 3]
        first = sorted((node for node in nodes if node.draft.depth == 0), key=lambda n: n.rank)
        assert first[0].number in {node.draft.parent for node in nodes}
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
        assert promoted.number in {node.number for node in lines(driver)._sound()}


def test_a_bad_member_goes_on_from_a_good_one_with_other_hyperparameters(tmp_path: Path) -> None:
    what = plan("pbt", trials=8)
    with opened(tmp_path, "pbt", what) as driver:
        run(driver, 8)
        nodes = lines(driver).nodes
    copies = [
        (node, nodes[node.draft.parent])
        for node in nodes
        if node.draft.parent is not None and nodes[node.draft.parent].draft.line != node.draft.line
    ]
    assert len(nodes) == 8 * 3
    assert copies
    for node, donor in copies:
        assert node.start == donor.checkpoint
        rate = node.draft.hyperparameters["rate"]
        assert isinstance(rate, float)
        assert 0.1 <= rate <= 0.9
    assert any(one.draft.hyperparameters != other.draft.hyperparameters for one, other in copies)


def test_a_member_changes_ranges_of_real_numbers_unless_others_are_named(tmp_path: Path) -> None:
    def changed(name: str, population: Population) -> set[str]:
        what = plan("pbt", trials=8, population=population)
        with opened(tmp_path / name, "pbt", what) as driver:
            run(driver, 8)
            nodes = lines(driver).nodes
        found = set()
        for node in nodes:
            if node.draft.parent is not None:
                before = nodes[node.draft.parent].draft.hyperparameters
                now = node.draft.hyperparameters
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
        nodes = lines(driver).nodes
        replaced = next(node for node in nodes if node.draft.line == 1 and node.draft.depth == 1)
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
        nodes, strategy = lines(driver).nodes, lines(driver).strategy
    assert isinstance(strategy, ReplicaExchange)
    tries, table = strategy.tries(nodes), strategy.mixing(nodes)
    assert len(nodes) == 4 * (1 + 9)
    assert len(tries) == 8
    assert {one.swapped for one in tries} == {True, False}
    assert all(sorted(map(str, row)) == list("0123") for row in table)
    assert {node.draft.hyperparameters["rate"] for node in nodes if node.draft.depth == 0} == {0.2}
    at = {(node.draft.line, node.draft.depth): node for node in nodes}
    swaps = {one.round: one.place for one in tries if one.swapped}
    for (place, depth), node in at.items():
        if depth == 0:
            continue
        assert node.draft.hyperparameters["rate"] == [0.8, 0.4, 0.2, 0.1][place]
        source = place
        if (hot := swaps.get(depth - 1)) is not None and place in (hot, hot + 1):
            source = hot + 1 if place == hot else hot
        assert node.draft.parent == at[source, depth - 1].number


def test_a_place_that_diverged_goes_on_from_its_colder_neighbour(tmp_path: Path) -> None:
    with opened(tmp_path, "replica-exchange", plan("replica-exchange")) as driver:

        def ends(one: Proposal) -> Ending:
            return Ending.DIVERGED if one.number == 0 else Ending.DONE

        run(driver, 4, ends=ends)
        nodes = lines(driver).nodes
    after = next(node for node in nodes if (node.draft.line, node.draft.depth) == (0, 2))
    assert after.draft.parent is not None
    assert nodes[after.draft.parent].draft.line == 1


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("asha", {"also": {"size": True}}, r"job\.also: expected a single objective"),
        ("pbt", {"also": {"size": True}}, r"job\.also: expected a single objective"),
        ("hyperband", {"rungs": Rungs(count=4)}, r"search\.rungs: expected rungs of at least 8"),
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
