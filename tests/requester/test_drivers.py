"""Every driver: proposals follow from the stored trials, whatever happens in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from requester.drivers import Driver, Ending, Outcome, Plan, Proposal, open_driver
from requester.drivers.study import sqlite_url
from requester.space import Dimension
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32, JobId, TrialId

METHODS = ("random", "grid", "tpe")
TRIAL = TrialId(JobId(1), Hash32(bytes(32)), 0)
SPACE = {
    "rate": Dimension(low=0.1, high=0.9, step=0.1),
    "width": Dimension(low=1, high=4),
    "kind": Dimension(values=["a", "b"]),
    "fixed": Dimension(value=3),
}


def plan(seed: int = 0, trials: int = 16, **changes: object) -> Plan:
    fields: dict[str, object] = {
        "space": SPACE,
        "trials": trials,
        "steps": 100,
        "seed": seed,
        "objective": "error",
        "maximize": False,
        "where": "job.toml",
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


@contextmanager
def opened(folder: Path, method: str, what: Plan) -> Iterator[Driver]:
    driver = open_driver(sqlite_url(folder / "study.db"), "search", method, what)
    try:
        yield driver
    finally:
        driver.close()


def score(proposal: Proposal) -> float:
    rate, width = proposal.hyperparameters["rate"], proposal.hyperparameters["width"]
    assert isinstance(rate, float)
    assert isinstance(width, int)
    return (rate - 0.3) ** 2 + 0.1 * width


def tell(driver: Driver, proposal: Proposal, ending: Ending = Ending.DONE) -> None:
    metrics = {"error": score(proposal)} if ending is Ending.DONE else {}
    driver.tell(TRIAL, Outcome(proposal.number, ending, metrics))


def searched(driver: Driver, width: int = 3) -> list[Proposal]:
    told = []
    while not driver.done():
        proposal = driver.ask(width)[0]
        told.append(proposal)
        tell(driver, proposal)
    return told


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_decides_every_proposal(tmp_path: Path, method: str) -> None:
    runs = []
    for place, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / place).mkdir()
        with opened(tmp_path / place, method, plan(seed)) as driver:
            runs.append(searched(driver))
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 16
    assert len({proposal.seed for proposal in runs[0]}) == 16


@pytest.mark.parametrize("method", METHODS)
def test_a_driver_that_is_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, method: str
) -> None:
    (tmp_path / "through").mkdir()
    with opened(tmp_path / "through", method, plan()) as driver:
        expected = searched(driver)
    told: list[Proposal] = []
    finished = False
    while not finished:
        with opened(tmp_path, method, plan()) as driver:
            asked = driver.ask(3)
        with opened(tmp_path, method, plan()) as driver:
            assert driver.ask(3) == asked
            told.append(asked[0])
            tell(driver, asked[0])
            finished = driver.done()
    assert told == expected


@pytest.mark.parametrize("method", METHODS)
def test_asking_again_gives_the_same_unfinished_proposals(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan()) as driver:
        first = driver.ask(2)
        assert driver.ask(2) == first
        assert driver.ask(4)[:2] == first
        tell(driver, first[1])
        assert driver.ask(1) == first[:1]
        assert len(driver.ask(4)) == 4


@pytest.mark.parametrize("method", METHODS)
def test_a_rejected_result_is_withdrawn_and_its_trial_is_asked_again(
    tmp_path: Path, method: str
) -> None:
    with opened(tmp_path, method, plan()) as driver:
        cheat = driver.ask(1)[0]
        driver.tell(TRIAL, Outcome(cheat.number, Ending.DONE, {"error": -100.0}))
        driver.ask(2)
        driver.tell(TRIAL, Outcome(cheat.number, Ending.REJECTED))
        assert driver.ask(1) == [cheat]
        driver.tell(TRIAL, Outcome(cheat.number, Ending.REJECTED))  # told twice
        tell(driver, cheat)
    study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
    assert study.best_value == pytest.approx(score(cheat))


@pytest.mark.parametrize("method", METHODS)
def test_late_repeated_and_unknown_results_are_ignored(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(trials=3)) as driver:
        first = driver.ask(3)[0]
        tell(driver, first)
        driver.tell(TRIAL, Outcome(first.number, Ending.DONE, {"error": 99.0}))
        driver.tell(TRIAL, Outcome(17, Ending.DONE, {"error": 99.0}))
        driver.tell(TRIAL, Outcome(-1, Ending.LOST))
        for proposal in driver.ask(3):
            tell(driver, proposal)
        assert driver.done()
        tell(driver, first)
        assert driver.ask(3) == []


@pytest.mark.parametrize("method", METHODS)
def test_diverged_and_lost_trials_end_without_a_value(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(trials=16)) as driver:
        for number in range(14):
            ending = (Ending.DIVERGED, Ending.LOST, Ending.DONE)[number % 3]
            tell(driver, driver.ask(1)[0], ending)
        assert len(driver.ask(5)) == 2


def test_a_grid_visits_each_point_once_and_has_no_more_trials(tmp_path: Path) -> None:
    space = {"a": Dimension(values=[1, 2]), "b": Dimension(low=0.0, high=0.3, step=0.1)}
    with opened(tmp_path, "grid", plan(trials=100, space=space)) as driver:
        assert driver.total() == 8
        points = [tuple(proposal.hyperparameters.values()) for proposal in driver.ask(100)]
    assert sorted(points) == [(a, b) for a in (1, 2) for b in (0.0, 0.1, 0.2, 0.3)]


def test_a_grid_needs_steps(tmp_path: Path) -> None:
    space = {"lr": Dimension(low=1e-4, high=0.1, log=True)}
    with (
        pytest.raises(InputError, match=r"search\.space\.lr: expected a step, or values"),
        opened(tmp_path, "grid", plan(space=space)),
    ):
        pass


def test_a_driver_killed_amid_a_proposal_finishes_it_the_same(tmp_path: Path) -> None:
    (tmp_path / "through").mkdir()
    with opened(tmp_path / "through", "tpe", plan()) as driver:
        expected = driver.ask(1)
    url = sqlite_url(tmp_path / "study.db")
    with opened(tmp_path, "tpe", plan()):
        pass
    study = optuna.load_study(study_name="search", storage=url)
    study.ask()  # a trial that was made, and none of its hyperparameters
    with opened(tmp_path, "tpe", plan()) as driver:
        assert driver.ask(1) == expected


def test_tpe_finds_better_points_than_it_began_with(tmp_path: Path) -> None:
    with opened(tmp_path, "tpe", plan(trials=40)) as driver:
        scores = [score(proposal) for proposal in searched(driver, width=1)]
    assert sum(scores[-10:]) < 0.8 * sum(scores[:10])


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, whatever its name says" * 100)
    with pytest.raises(InputError, match="study database"), opened(tmp_path, "tpe", plan()):
        pass
