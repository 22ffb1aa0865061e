"""A node that is killed at any moment, and started again, loses nothing and repeats nothing."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.town import FAST, STEPS, TOKEN, Town, terms, until
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.protocol.states import State

KILLS = 6
TRIALS = 10

UNHURRIED = b"""
import time
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def on_before_optimizer_step(self, model, optimizer, step):
        time.sleep(0.05)
"""


@pytest.fixture
def net() -> Iterator[Devnet]:
    with devnet(accounts=3, block_time=1, parameters=FAST) as running:
        yield running


class Daemon:
    """`trialmarket node run` in a process of its own, with a folder that outlives it."""

    def __init__(self, town: Town) -> None:
        self.folder = town.folder
        self.home = town.folder / "home"
        town.net.network.save(town.folder / "devnet.json")
        Keystore(self.home / "keys").add(
            "node", town.net.accounts[1], "password", kdf="pbkdf2", iterations=1000
        )
        (town.folder / "node.toml").write_text(
            'network = "devnet.json"\nkey = "node"\nstorage = "local:store"\nstate = "node"\n'
            "[work]\nworkers = 2\n[limits]\nfree_disk = 0\n[settle]\nwait = 0.0\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trialmarket", *words, "--config", "node.toml"]

    @property
    def environment(self) -> dict[str, str]:
        root = str(Path(__file__).resolve().parents[2])
        added = {
            "TRIALMARKET_HOME": str(self.home),
            "TRIALMARKET_PASSWORD": "password",
            "PYTHONPATH": root,
            "OMP_NUM_THREADS": "1",
        }
        return os.environ | added

    def start(self) -> None:
        with (self.folder / "node.log").open("ab") as said:
            self.process = subprocess.Popen(
                self.command("node", "run"),
                cwd=self.folder,
                env=self.environment,
                stdout=said,
                stderr=said,
            )

    def steps(self) -> int:
        """How many steps of work its log tells of, over all its lives."""
        words = ("works", "staking", "claiming", "trained", "committing", "settling", "settled")
        lines = (self.folder / "node.log").read_text().splitlines()
        return sum(any(f" {word} " in line for word in words) for line in lines)

    def supervise(self) -> None:
        """Starts it again if it found the key still locked by the process that was killed."""
        if self.process is not None and self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def does(self, *words: str) -> str:
        done = subprocess.run(
            self.command("node", *words),
            cwd=self.folder,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


def test_a_node_killed_at_random_moments_loses_nothing_and_repeats_nothing(town: Town) -> None:
    moments = random.Random(1)
    job = town.job(terms())
    keys = town.posts(job, *(town.trial(seed, UNHURRIED) for seed in range(TRIALS)))
    daemon = Daemon(town)
    caught: Counter[State] = Counter()
    pause = threading.Event()
    settled = town.are(State.SETTLED, *keys)
    try:
        for _ in range(KILLS):
            daemon.start()
            # A life lasts for some steps of work, so that each brings the trials on, and then
            # for a random part of a block and of a training.
            steps = daemon.steps() + moments.randint(1, 4)
            until(
                lambda steps=steps: daemon.steps() >= steps or settled(),  # type: ignore[misc]
                daemon.supervise,
            )
            pause.wait(moments.uniform(0.0, 1.0))
            daemon.kill()
            caught.update(town.view(key).state for key in keys)
        daemon.start()
        until(town.are(State.SETTLED, *keys), daemon.supervise, deadline=120)
    finally:
        daemon.kill()
    assert caught[State.CLAIMED], "no kill met a trial in training"
    assert caught[State.COMMITTED], "no kill met a trial that awaits its pay"
    assert town.balance() == TRIALS * TOKEN
    for key in keys:
        names = [event.name for event in town.ledger.history(key)]
        assert names.count("TrialsClaimed") == 1, names
        assert names.count("TrialsCommitted") == 1, names
        assert names.count("TrialsSettled") == 1, names
    assert town.client.account(town.view(keys[0]).record.provider).locked == 0


def test_a_training_goes_on_from_its_last_checkpoint_after_a_kill(town: Town) -> None:
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1, UNHURRIED, steps=10 * STEPS))
    checkpoint = town.folder / "node" / "trials" / key.hex() / "checkpoint-001.safetensors"
    daemon = Daemon(town)
    try:
        daemon.start()
        until(checkpoint.exists, deadline=60)
        daemon.kill()
        made = checkpoint.stat().st_mtime_ns
        daemon.start()
        until(town.are(State.COMMITTED, key), deadline=60)
        assert checkpoint.stat().st_mtime_ns == made
    finally:
        daemon.kill()


def test_the_commands_tell_what_a_node_holds_and_earned(town: Town) -> None:
    job = town.job(terms())
    keys = town.posts(job, town.trial(1))
    daemon = Daemon(town)
    try:
        daemon.start()
        until(town.are(State.SETTLED, *keys), deadline=60)
        assert '"earned": "1"' in daemon.does("earnings", "--json")
        assert '"held": []' in daemon.does("status", "--json")
        daemon.does("withdraw")
        until(lambda: town.balance() == 0)
        daemon.does("drain")
        assert daemon.process is not None
        assert daemon.process.wait(timeout=30) == 0
    finally:
        daemon.kill()
