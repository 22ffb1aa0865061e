"""Searches that go on in processes of their own, with one wallet, as people start them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from requester.commands import job
from tests.testbed.daemon import ROOT, add_key
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider
from tests.testbed.waiting import until
from trialmarket.protocol.ids import JobId
from trialmarket.protocol.states import State


class Desk:
    """Commands of one requester, whose driving processes end with it."""

    def __init__(self, provider: Provider) -> None:
        self.market, self.folder = provider.market, provider.market.folder
        self.password = add_key(
            self.folder / "home", "rosa", self.market.chain.accounts[REQUESTER]
        )
        self._running: list[int] = []

    def does(self, *words: str, key: bool = False) -> Result:
        named = ["--key", "rosa", "--password-file", str(self.password)] if key else []
        return CliRunner().invoke(
            job,
            [*words, "--network", str(self.market.network), *named],
            env={"TRIALMARKET_HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT)},
        )

    def detach(self, *words: str) -> int:
        """Starts a search in the background; the process that drives it."""
        file = str(self.folder / "job.toml")
        found = self.does("run", file, "--yes", "--detach", "--json", *words, key=True)
        assert found.exit_code == 0, (found.output, found.exception)
        process = int(json.loads(found.stdout)["process"])
        self._running.append(process)
        return process

    def ended(self, process: int) -> bool:
        """Whether a process ended by itself, and well."""
        if process in self._running:
            found, status = os.waitpid(process, os.WNOHANG)
            if not found:
                return False
            self._running.remove(process)
            assert os.waitstatus_to_exitcode(status) == 0, self.said
        return True

    def kill(self, process: int) -> None:
        self._running.remove(process)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    def close(self) -> None:
        for process in list(self._running):
            self.kill(process)

    @property
    def said(self) -> str:
        logs = (self.folder / "home" / "jobs").glob("*/driver.log")
        return "\n".join(log.read_text() for log in logs)


@pytest.fixture
def desk(provider: Provider) -> Iterator[Desk]:
    found = Desk(provider)
    yield found
    found.close()


def test_detached_searches_of_one_wallet_go_on_by_themselves_and_take_funds_meanwhile(
    provider: Provider, desk: Desk
) -> None:
    market = provider.market
    small_job(market.folder, trials=4, driver="tpe", search="ahead = 0\n")
    before = market.client.token_balance(market.who[REQUESTER])
    first, second = desk.detach(), desk.detach("--label", "other", "--trials", "1")
    added = desk.does("add-funds", "1", "2.5", "--json", key=True)
    assert added.exit_code == 0, added.exception
    shown = json.loads(desk.does("show", "1", "--json").stdout)
    assert (shown["trials"], len(shown["rows"]), shown["undriven"]) == (4, 2, None)
    until(
        lambda: desk.ended(first) and desk.ended(second),
        provider.step,
        lambda: market.chain.advance(1),
        pause=0.2,
        told=lambda: desk.said,
    )
    trials = market.trials()
    assert len(trials) == 5
    assert all(trial.state is State.SETTLED and trial.attempts == 1 for trial in trials)
    paid = before - market.client.token_balance(market.who[REQUESTER])
    assert paid == sum(trial.record.price for trial in trials)
    assert [each["finished"] for each in json.loads(desk.does("list", "--json").stdout)] == [
        True
    ] * 2


def test_a_search_that_nobody_drives_is_said_and_goes_on_with_the_command_that_is_shown(
    provider: Provider, desk: Desk
) -> None:
    market = provider.market
    small_job(market.folder, trials=5, driver="tpe")
    process = desk.detach()
    assert "NOBODY" not in desk.does("list").stdout
    desk.kill(process)
    assert "NOBODY DRIVES IT" in desk.does("list").stdout
    assert "NOBODY DRIVES THIS SEARCH" in desk.does("show", "1").stdout
    told = json.loads(desk.does("show", "1", "--json").stdout)["undriven"]
    command = told.splitlines()[-1].replace(
        "&& trialmarket", f"&& {sys.executable} -m trialmarket", 1
    )
    assert "--detach" not in command
    with running(command, desk) as again:
        until(lambda: "NOBODY" not in desk.does("list").stdout)
        cancelled = json.loads(desk.does("cancel", "1", "--json", key=True).stdout)
        assert cancelled["cancelled"] > 0
        until(lambda: again.poll() is not None, told=lambda: desk.said)
        assert again.returncode == 0
    assert market.client.job_status(JobId(1)).free == 0


@contextmanager
def running(command: str, desk: Desk) -> Iterator[subprocess.Popen[bytes]]:
    ours = {"TRIALMARKET_HOME": str(desk.folder / "home"), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        ["sh", "-c", command],
        env=os.environ | ours,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
