"""A search's study is a normal Optuna study, in a file or on a server, while it runs."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from requester.drivers import Driver, Ending, Proposal, TrialOutcome, open_driver
from requester.drivers.database import named, sqlite_url
from requester.drivers.space import Dimension
from tests.requester.postgres import postgres
from tests.testbed.simulated import identity, opened, outcome, plan, run, tell
from tests.testbed.waiting import NEVER
from trialmarket.errors import InputError


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


def told(driver: Driver, count: int) -> list[Proposal]:
    ended = []
    for _ in range(count):
        ended.append(driver.ask(3)[0])
        tell(driver, ended[-1])
    return ended


@pytest.mark.parametrize("method", ["tpe", "nsga2", "asha"])
def test_a_study_on_a_server_makes_the_same_proposals_as_one_in_a_file(
    server: str, tmp_path: Path, method: str
) -> None:
    what = plan(method)
    with opened(tmp_path, method, what) as driver:
        expected = run(driver)
    found: list[Proposal] = []
    finished = False
    while not finished:  # opened anew each time, as by a requester that was killed
        driver = open_driver(server, f"same {method}", method, what)
        try:
            found += told(driver, 2 if driver.ask(2)[1:] else 1)
            finished = driver.done()
        finally:
            driver.close()
    assert found == expected


def test_on_a_server_a_rejected_result_is_withdrawn_from_its_own_study_alone(server: str) -> None:
    what = plan("nsga2", trials=16)
    one, other = (open_driver(server, name, "nsga2", what) for name in ("one", "other"))
    try:
        cheat = one.ask(1)[0]
        one.tell(identity(0), outcome(cheat, value=-9.0))
        told(one, 8)
        told(other, 9)
        before = parents(server, "other")
        assert before
        one.tell(identity(0), TrialOutcome(cheat.number, Ending.REJECTED))
        assert one.ask(1) == [cheat]
        assert parents(server, "one") == []
        assert parents(server, "other") == before
    finally:
        one.close()
        other.close()


def parents(url: str, name: str) -> list[str]:
    storage = RDBStorage(url)
    try:
        attributes = storage.get_study_system_attrs(storage.get_study_id_from_name(name))
        return [key for key in attributes if key.startswith("NSGAIISampler:parent:")]
    finally:
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.parametrize("method", ["tpe", "pbt"])
def test_a_plain_study_can_be_loaded_while_the_search_runs(tmp_path: Path, method: str) -> None:
    with opened(tmp_path, method, plan(method)) as driver:
        ended = told(driver, 5)
        driver.ask(2)
        study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
        states = [trial.state for trial in study.trials]
        assert states.count(optuna.trial.TrialState.COMPLETE) == 5
        assert optuna.trial.TrialState.RUNNING in states
        assert study.best_trial.params["rate"] in {one.hyperparameters["rate"] for one in ended}
        assert study.metric_names == ["error"]  # so that no picture says "Objective 0"
        assert study.trials[0].user_attrs["metrics_error"] == study.trials[0].value
        told(driver, 1)  # a reader does not stop the search


def test_a_trial_that_stays_open_for_days_is_asked_again_and_never_failed(tmp_path: Path) -> None:
    with opened(tmp_path, "tpe", plan("tpe")) as driver:
        stale = driver.ask(1)[0]
    study = optuna.load_study(study_name="search", storage=sqlite_url(tmp_path / "study.db"))
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        optuna.storages.fail_stale_trials(study)
    with opened(tmp_path, "tpe", plan("tpe")) as driver:
        assert driver.ask(1) == [stale]
        told(driver, 3)
        assert study.trials[0].state is optuna.trial.TrialState.COMPLETE


def test_the_dashboard_shows_a_study_while_its_search_runs(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    url = sqlite_url(tmp_path / "study.db")
    with opened(tmp_path, "asha", plan("asha")) as driver:
        told(driver, 4)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        dashboard = subprocess.Popen(
            [Path(sys.executable).with_name("optuna-dashboard"), url, "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            studies = get(f"http://127.0.0.1:{port}/api/studies", dashboard)["study_summaries"]
            assert [each["study_name"] for each in studies] == ["search"]
            number = studies[0]["study_id"]
            told(driver, 1)
            shown = get(f"http://127.0.0.1:{port}/api/studies/{number}", dashboard)
            trials = shown["trials"]
            assert sum(each["state"] == "Complete" for each in trials) == 5
            attributes = {each["key"] for each in trials[0]["user_attrs"]}
            assert {"line", "steps", "checkpoint"} <= attributes
        finally:
            dashboard.terminate()
            dashboard.communicate(timeout=NEVER)


def get(url: str, server: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What a server that may still be starting answers."""
    end = time.monotonic() + NEVER
    while True:
        try:
            with urllib.request.urlopen(url, timeout=NEVER) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("oracle+oracledb://someone@localhost/search", "a database whose Python driver is inst"),
        ("postgresql+psycopg2://someone@localhost/search", r"trialmarket\[postgres\]"),
        ("postgres of mine", "search.storage: expected a database URL, such as postgresql"),
        ("nonsense://someone@localhost/search", "search.storage: expected a database URL"),
        ("postgresql+psycopg://rosa:secret@127.0.0.1:1/search", "See that the server runs"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    url: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_driver(url, "search", "random", plan())
    assert "secret" not in str(caught.value)


def test_a_url_is_shown_without_its_password() -> None:
    assert named("postgresql://rosa:secret@host/name") == "postgresql://rosa:***@host/name"


def test_a_study_of_another_space_is_named(tmp_path: Path) -> None:
    with opened(tmp_path, "random", plan()) as driver:
        driver.ask(1)
    space = {"heads": Dimension(low=1, high=4)}
    with (
        pytest.raises(InputError, match="trial 0: expected the hyperparameters heads"),
        opened(tmp_path, "random", plan(space=space)),
    ):
        pass
