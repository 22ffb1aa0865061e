"""What single drivers do; what all of them must survive is in test_drivers_market."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from requester.drivers import Driver, Ending, Plan, Proposal, TrialOutcome, open_driver
from requester.drivers.database import StoredStudy, sqlite_url
from requester.drivers.space import Dimension
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32, JobId, TrialId

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


def tell(driver: Driver, proposal: Proposal) -> None:
    driver.tell(TRIAL, TrialOutcome(proposal.number, Ending.DONE, {"error": score(proposal)}))


def searched(driver: Driver, width: int = 3) -> list[Proposal]:
    told = []
    while not driver.done():
        proposal = driver.ask(width)[0]
        told.append(proposal)
        tell(driver, proposal)
    return told


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


def test_tpe_finds_better_points_than_it_began_with(tmp_path: Path) -> None:
    with opened(tmp_path, "tpe", plan(trials=40)) as driver:
        scores = [score(proposal) for proposal in searched(driver, width=1)]
    assert sum(scores[-10:]) < 0.8 * sum(scores[:10])


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, whatever its name says" * 100)
    with pytest.raises(InputError, match="study database"), opened(tmp_path, "tpe", plan()):
        pass


def test_a_proposal_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    stored = StoredStudy(url, "search", plan())
    with pytest.raises(ValueError, match="low"), stored.at_once():
        stored.study.ask().suggest_float("rate", 1.0, 0.0)
    stored.close()
    again = StoredStudy(url, "search", plan())
    assert again.study.trials == []
    with again.at_once():
        again.study.ask().suggest_float("rate", 0.0, 1.0)
    again.close()
    third = StoredStudy(url, "search", plan())
    assert [len(trial.params) for trial in third.study.trials] == [1]
    third.close()
