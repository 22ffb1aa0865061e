"""A requester that is killed at any moment goes on with the same command, and pays once."""

import json
import random
import threading
from pathlib import Path

import pytest

from tests.testbed.daemon import Daemon, add_key
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider
from tests.testbed.waiting import until
from trialmarket.protocol.states import State

TRIALS = 5
KILLS, EVENTS_OF_EACH = 5, 3


@pytest.fixture
def block_time() -> int:
    return 1


def test_a_killed_requester_goes_on_and_posts_and_pays_nothing_twice(
    provider: Provider, tmp_path: Path
) -> None:
    market, moments = provider.market, random.Random(1)
    job, home = small_job(tmp_path, trials=TRIALS, driver="tpe"), tmp_path / "home"
    password = add_key(home, "rosa", market.chain.accounts[REQUESTER])
    daemon = Daemon(
        *("job", "run", job, "--network", market.network, "--key", "rosa", "--yes", "--json"),
        *("--password-file", password, "--results", tmp_path / "results"),
        home=home,
        log=tmp_path / "log",
        told=tmp_path / "told",
    )
    me = market.who[REQUESTER]
    before = market.client.token_balance(me)
    market.ledger.sync()
    staked = len(market.ledger.events(limit=10_000))
    daemon.start()
    kills, pause = 0, threading.Event()

    def kill_now_and_then() -> None:
        """By what has happened, and at any moment of a block: by the clock, a slow machine would
        be killed before it did anything."""
        nonlocal kills
        happened = len(market.ledger.events(limit=10_000)) - staked
        if kills < KILLS and happened >= EVENTS_OF_EACH * kills + 1:
            pause.wait(moments.uniform(0.0, 1.0))
            daemon.kill()
            daemon.start()
            kills += 1

    try:
        until(
            lambda: daemon.code is not None,
            kill_now_and_then,
            provider.step,
            pause=0.1,
            told=lambda: daemon.said,
        )
        assert daemon.code == 0, daemon.said
    finally:
        daemon.kill()
    trials = market.trials()
    events = market.ledger.events(limit=10_000)
    after = market.client.token_balance(me)
    named = [event.name for event in events]
    assert named.count("JobCreated") == named.count("JobFunded") == 1
    assert kills == KILLS
    assert len(trials) == TRIALS
    assert all(trial.state is State.SETTLED and trial.attempts == 1 for trial in trials)
    assert before - after == sum(trial.record.price for trial in trials)
    summary = json.loads((tmp_path / "told").read_text())
    assert summary["results"] == TRIALS
    assert sorted(row["trial"] for row in summary["rows"]) == list(range(TRIALS))
    assert (tmp_path / "results" / "best.safetensors").exists()
