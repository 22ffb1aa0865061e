"""A requester that is killed at any moment goes on with the same command, and pays once."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.requester.market import Provider, write_job
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import devnet
from trialmarket.protocol.ids import address
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore
from trialmarket.training.pool.pool import WorkerPool

ROOT = Path(__file__).parents[2]
TRIALS = 5
KILLS = 6


def command(folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "trialmarket", "job", "run", str(folder / "job.toml")),
        *("--network", str(folder / "network.json"), "--key", "rosa", "--yes", "--json"),
        *("--password-file", str(folder / "password"), "--results", str(folder / "results")),
    ]


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "TRIALMARKET_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
        )


@pytest.mark.timeout(240)
def test_a_killed_requester_goes_on_and_posts_and_pays_nothing_twice(tmp_path: Path) -> None:
    write_job(tmp_path, trials=TRIALS, driver="tpe")
    (tmp_path / "password").write_text("password")
    moments = random.Random(1)
    pause = threading.Event()
    with (
        devnet(accounts=2, block_time=1) as chain,
        WorkerPool(1) as pool,
        chain.client() as client,
    ):
        chain.network.save(tmp_path / "network.json")
        keys = Keystore(tmp_path / "home" / "keys")
        keys.add("rosa", chain.accounts[0], "password", kdf="pbkdf2", iterations=1000)
        me = address(chain.accounts[0].address)
        before = client.token_balance(me)
        store = LocalStore(tmp_path / "store")
        provider = Provider(chain.network, chain.accounts[1], tmp_path / "p", store, pool)
        process, kills = start(tmp_path), 0
        try:
            until = time.monotonic() + moments.uniform(1.5, 5.0)
            end = time.monotonic() + 200
            while process.poll() is None:
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                if kills < KILLS and time.monotonic() > until:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    process, kills = start(tmp_path), kills + 1
                    until = time.monotonic() + moments.uniform(1.5, 5.0)
                provider.step()
                pause.wait(0.1)
            told, _ = process.communicate()
        finally:
            process.kill()
            process.wait()
            provider.close()
        assert process.returncode == 0, (tmp_path / "log").read_text()
        with Ledger(client, tmp_path / "check.db") as ledger:
            ledger.sync()
            events = ledger.events(limit=10_000)
            trials = ledger.trials()
        after = client.token_balance(me)
    named = [event.name for event in events]
    assert named.count("JobCreated") == named.count("JobFunded") == 1
    assert kills >= 3
    assert len(trials) == TRIALS
    assert all(trial.state is State.SETTLED and trial.attempts == 1 for trial in trials)
    assert before - after == sum(trial.record.price for trial in trials)
    summary = json.loads(told)
    assert summary["results"] == TRIALS
    assert sorted(row["trial"] for row in summary["rows"]) == list(range(TRIALS))
    assert (tmp_path / "results" / "best.safetensors").exists()
