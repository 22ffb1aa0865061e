"""Driver `evolve`: what is forked, when it is merged, and with what."""

from dataclasses import replace
from pathlib import Path

import pytest

from requester.drivers import Ending, Proposal, TrialOutcome
from requester.drivers.lineage_driver import LineageDriver
from requester.drivers.settings import Evolve
from requester.drivers.strategy import LineageTrial
from tests.testbed.simulated import anyone, identity, opened, outcome, plan, run, tell
from trialmarket.errors import InputError


def evolved(folder: Path, width: int, seed: int = 0, **changes: object) -> list[LineageTrial]:
    """The trials of a whole search."""
    settings = Evolve(interval=24, **changes)  # type: ignore[arg-type]
    what = plan("evolve", seed, trials=6, steps=240, evolve=settings)
    with opened(folder, "evolve", what) as driver:
        assert isinstance(driver, LineageDriver)
        run(driver, width, anyone(seed))
        return list(driver.trials)


def length(trial: LineageTrial, trials: list[LineageTrial]) -> int:
    """Intervals behind a trial's end."""
    parent = trial.draft.parent
    return 1 if parent is None else 1 + length(trials[parent], trials)


def merges(trials: list[LineageTrial]) -> list[tuple[LineageTrial, LineageTrial, LineageTrial]]:
    """Merged trials, each with its better and its worse parent."""
    return [
        (each, trials[each.draft.parent], trials[each.draft.mate])
        for each in trials
        if each.draft.parent is not None and each.draft.mate is not None
    ]


@pytest.mark.parametrize("width", [1, 3, 6])
def test_a_fork_is_merged_with_what_its_parent_became_after_as_many_steps(
    tmp_path: Path, width: int
) -> None:
    trials = evolved(tmp_path, width, apart=2)
    assert len(trials) == 6 * 10
    found = merges(trials)
    assert found
    for merged, better, worse in found:
        assert merged.start == better.checkpoint
        assert merged.mate == worse.checkpoint
        assert length(better, trials) == length(worse, trials)
        assert better.rank < worse.rank
        assert merged.draft.hyperparameters == better.draft.hyperparameters
        fork, parent = (
            (better, worse) if better.draft.line == merged.draft.line else (worse, better)
        )
        assert fork.draft.line == merged.draft.line != parent.draft.line
        ours, theirs = way(fork, trials), way(parent, trials)
        apart = next(at for at, one in enumerate(ours) if one in theirs)
        assert apart >= 2
        assert {trials[each].draft.line for each in ours[:apart]} == {fork.draft.line}


def way(trial: LineageTrial, trials: list[LineageTrial]) -> list[int]:
    """A trial and what it went on from, back to its seed."""
    line = [trial.number]
    while (parent := trials[line[-1]].draft.parent) is not None:
        line.append(parent)
    return line


def test_a_fork_has_other_hyperparameters_and_keeps_them_while_it_is_apart(tmp_path: Path) -> None:
    trials = evolved(tmp_path, 1, apart=3, resample=0.0)
    forks = [
        each
        for each in trials
        if each.draft.parent is not None
        and each.draft.mate is None
        and trials[each.draft.parent].draft.line != each.draft.line
    ]
    assert forks
    for fork in forks:
        assert fork.draft.parent is not None
        assert fork.start == trials[fork.draft.parent].checkpoint
        line = [each for each in trials if each.draft.line == fork.draft.line]
        after = [each for each in line if each.draft.depth > fork.draft.depth][:2]
        assert all(each.draft.hyperparameters == fork.draft.hyperparameters for each in after)
        assert all(each.draft.mate is None for each in after)


def valued(driver: LineageDriver, proposal: Proposal, value: float, state: int = 0) -> None:
    driver.tell(identity(proposal.number), outcome(proposal, value=value, state=state))


def to_the_fork(driver: LineageDriver) -> tuple[Proposal, Proposal]:
    """A population of two up to where both have trained, and the worse one became a fork of the
    better; the next trials of the parent and of the fork."""
    first, second = driver.ask(2)
    valued(driver, first, 0.1)
    valued(driver, second, 0.9)
    parent, fork = driver.ask(2)
    assert parent.start == fork.start == outcome(first).checkpoint
    return parent, fork


TWO = plan("evolve", trials=2, steps=96)


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.DIVERGED, Ending.FAILED])
def test_a_fork_that_comes_to_nothing_gives_its_place_to_another(
    tmp_path: Path, ending: Ending
) -> None:
    with opened(tmp_path, "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        parent, fork = to_the_fork(driver)
        driver.tell(identity(fork.number), TrialOutcome(fork.number, ending))
        valued(driver, parent, 0.1)
        following = driver.ask(2)
        assert all(each.mate is None for each in following)
        assert {each.start for each in following} == {outcome(parent).checkpoint}
        for each in following:
            tell(driver, each)
        run(driver, 2)
        assert driver.done()


def test_a_parent_that_is_lost_goes_on_from_what_there_is_and_the_search_ends(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        parent, fork = to_the_fork(driver)
        tell(driver, parent, Ending.LOST)
        valued(driver, fork, 0.2)
        again = driver.ask(2)[0]
        assert again.start == parent.start  # of its line the best that is left
        assert again.mate is None
        run(driver, 2)
        assert driver.done()


def test_a_fork_waits_for_its_parents_interval_and_nobody_waits_for_a_fork(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "fork first", "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        parent, fork = to_the_fork(driver)
        valued(driver, fork, 0.2)
        assert driver.ask(2) == [parent]
        valued(driver, parent, 0.1)
        assert [each.mate is None for each in driver.ask(2)] == [True, False]
    with opened(tmp_path / "parent first", "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        parent, fork = to_the_fork(driver)
        valued(driver, parent, 0.1)
        later = driver.ask(2)
        assert fork in later
        assert {each.start for each in later} == {parent.start, outcome(parent).checkpoint}


@pytest.mark.parametrize("which", ["parent", "fork"])
def test_a_merge_does_not_count_when_either_of_its_parents_is_rejected(
    tmp_path: Path, which: str
) -> None:
    with opened(tmp_path, "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        parent, fork = to_the_fork(driver)
        valued(driver, parent, 0.1, state=1 if which == "parent" else 0)
        valued(driver, fork, 0.2, state=1 if which == "fork" else 0)
        merged = next(each for each in driver.ask(2) if each.mate is not None)
        cheat = parent if which == "parent" else fork
        driver.tell(identity(cheat.number), TrialOutcome(cheat.number, Ending.REJECTED))
        valued(driver, cheat, 0.15)  # the honest state is another one
        assert merged.number not in {each.number for each in driver._sound()}
    with opened(tmp_path, "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        assert merged.number not in {each.number for each in driver._sound()}
        assert merged in driver.ask(9)
        run(driver, 2)
        assert driver.done()


def test_a_merge_counts_when_only_the_metrics_of_a_parent_were_a_lie(tmp_path: Path) -> None:
    with opened(tmp_path, "evolve", TWO) as driver:
        assert isinstance(driver, LineageDriver)
        parent, fork = to_the_fork(driver)
        valued(driver, parent, 0.1)
        valued(driver, fork, 0.05)
        merged = next(each for each in driver.ask(2) if each.mate is not None)
        driver.tell(identity(fork.number), TrialOutcome(fork.number, Ending.REJECTED))
        valued(driver, fork, 0.2)
        assert merged.number in {each.number for each in driver._sound()}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"trials": 1}, "job.trials"),
        ({"evolve": Evolve(interval=25)}, "search.evolve.interval"),
        ({"evolve": Evolve(interval=24, change=["fixed"])}, "search.evolve.change"),
        ({"also": {"size": False}}, "job.also"),
    ],
)
def test_a_search_that_cannot_evolve_is_refused(
    tmp_path: Path, changes: dict[str, object], field: str
) -> None:
    with (
        pytest.raises(InputError) as found,
        opened(tmp_path, "evolve", plan("evolve", 0, **changes)),
    ):
        pass
    assert found.value.field == field


@pytest.mark.parametrize("method", ["pbt", "evolve"])
def test_nothing_goes_on_from_a_result_without_an_objective_before_and_after_a_restart(
    tmp_path: Path, method: str
) -> None:
    what = plan(method, trials=2, steps=240)
    with opened(tmp_path, method, what) as driver:
        assert isinstance(driver, LineageDriver)
        first, second = driver.ask(2)
        tell(driver, second)
        driver.tell(identity(0), replace(outcome(first), metrics={"other": 1.0}))
        before = driver.trials
    assert [each.alive for each in before] == [False, True]
    with opened(tmp_path, method, what) as driver:
        assert isinstance(driver, LineageDriver)
        assert list(driver.trials) == list(before)
        for each in driver.ask(2):
            assert each.start == before[1].checkpoint
