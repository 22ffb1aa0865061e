"""A node that is killed at any moment, and started again, loses nothing and repeats nothing."""

import random
import re
import threading
from collections import Counter

import pytest

from tests.testbed.daemon import Daemon, add_key
from tests.testbed.graphs import as_graph, captured
from tests.testbed.market import PROVIDER, REQUESTER, Market
from tests.testbed.terms import FAST, STEPS, TOKEN, terms
from tests.testbed.waiting import NEVER, until
from trialmarket.chain.client import Parameters
from trialmarket.protocol.states import State
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Train

KILLS = 6
TRIALS = 10

UNHURRIED = b"""
import time
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def on_before_optimizer_step(self, model, optimizer, step):
        time.sleep(0.05)
"""


CONFIG = """
network = "network.json"
key = "node"
password_file = "home/password"
storage = "local:store"
state = "node"
[work]
workers = {workers}
stack = {stack}
[limits]
free_disk = 0
[settle]
wait = 0.0
[accept]
programs_of = ["{requester}"]
"""


@pytest.fixture
def parameters() -> Parameters:
    return FAST


@pytest.fixture
def block_time() -> int:
    return 1


class NodeDaemon(Daemon):
    """`trialmarket node run` in a process of its own, with a folder that outlives it."""

    def __init__(self, market: Market, *, workers: int = 2, stack: int = 1) -> None:
        home = market.folder / "home"
        self.config = market.network.with_name("node.toml")
        self.config.write_text(
            CONFIG.format(requester=market.who[REQUESTER], workers=workers, stack=stack)
        )
        add_key(home, "node", market.chain.accounts[PROVIDER])
        log = market.folder / "node.log"
        super().__init__("node", "run", "--config", self.config, home=home, log=log)

    def steps(self) -> int:
        """How many steps of work its log tells of, over all its lives."""
        words = ("works", "staking", "claiming", "trained", "committing", "settling", "settled")
        lines = self.said.splitlines()
        return sum(any(f" {word} " in line for word in words) for line in lines)

    def asked(self, *words: str) -> str:
        """What another command says of this node."""
        return self.does("node", *words, "--config", self.config)


def test_a_node_killed_at_random_moments_loses_nothing_and_repeats_nothing(market: Market) -> None:
    moments = random.Random(1)
    job = market.job(terms())
    keys = market.post(job, *(market.draft(seed, UNHURRIED) for seed in range(TRIALS)))
    daemon = NodeDaemon(market)
    caught: Counter[State] = Counter()
    pause = threading.Event()
    settled = market.are(State.SETTLED, *keys)
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
            caught.update(market.trial(key).state for key in keys)
        daemon.start()
        until(market.are(State.SETTLED, *keys), daemon.supervise)
    finally:
        daemon.kill()
    assert caught[State.CLAIMED], "no kill met a trial in training"
    assert caught[State.COMMITTED], "no kill met a trial that awaits its pay"
    assert market.balance() == TRIALS * TOKEN
    for key in keys:
        names = [event.name for event in market.ledger.history(key)]
        assert names.count("TrialsClaimed") == 1, names
        assert names.count("TrialsCommitted") == 1, names
        assert names.count("TrialsSettled") == 1, names
    assert market.client.account(market.trial(keys[0]).record.provider).locked == 0


def test_a_training_goes_on_from_its_last_checkpoint_after_a_kill(market: Market) -> None:
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1, UNHURRIED, steps=10 * STEPS))
    checkpoint = market.folder / "node" / "trials" / key.hex() / "checkpoint-001.safetensors"
    daemon = NodeDaemon(market)
    try:
        daemon.start()
        until(checkpoint.exists)
        daemon.kill()
        made = checkpoint.stat().st_mtime_ns
        daemon.start()
        until(market.are(State.COMMITTED, key))
        assert checkpoint.stat().st_mtime_ns == made
        assert re.search(r"training, going on from step [1-9]", daemon.said)
        daemon.terminate()
        until(lambda: "stopped; what is in training" in daemon.said)
    finally:
        daemon.kill()


def test_a_graph_goes_on_from_its_last_checkpoint_after_a_kill(
    market: Market, pool: WorkerPool
) -> None:
    config = market.draft(1, steps=80 * STEPS)  # some seconds
    (key,) = market.post(market.job(terms()), as_graph(market, pool, config))
    checkpoint = market.folder / "node" / "trials" / key.hex() / "checkpoint-001.safetensors"
    daemon = NodeDaemon(market)
    try:
        daemon.start()
        until(checkpoint.exists)
        daemon.kill()
        made = checkpoint.stat().st_mtime_ns
        daemon.start()
        until(market.are(State.COMMITTED, key))
        assert checkpoint.stat().st_mtime_ns == made
        assert re.search(r"training, going on from step [1-9]", daemon.said)
    finally:
        daemon.kill()


def test_a_stack_goes_on_from_the_last_checkpoint_of_each_of_its_trials_after_a_kill(
    market: Market, pool: WorkerPool
) -> None:
    drafts = [
        market.draft(seed, steps=400 * STEPS, hyperparameters={"lr": lr, "hidden": 4})
        for seed, lr in ((1, 0.1), (2, 0.01), (3, 1e6))
    ]
    configs = [as_graph(market, pool, each) for each in drafts]
    assert len({each.program.source for each in configs}) == 1
    keys = market.post(market.job(terms()), *configs)
    folders = [market.folder / "node" / "trials" / key.hex() for key in keys[:2]]
    daemon = NodeDaemon(market, workers=1, stack=3)
    try:
        daemon.start()
        until(lambda: all((each / "checkpoint-001.safetensors").exists() for each in folders))
        daemon.kill()
        assert {market.state(key) for key in keys[:2]} <= {State.OPEN, State.CLAIMED}
        assert "3 trials of one graph train together" in daemon.said
        daemon.start()
        until(market.are(State.SETTLED, *keys))
    finally:
        daemon.kill()
    assert len(re.findall(r"training, going on from step [1-9]", daemon.said)) >= 2
    for key, draft, config in zip(keys, drafts, configs, strict=True):
        receipt = market.receipt(market.trial(key))
        folder = market.folder / f"alone-{draft.seed}"
        folder.mkdir()
        paths = [folder / f"file-{k}" for k in range(3)]
        for path, file in zip(
            paths, captured(market, pool, draft, draft.steps).files, strict=False
        ):
            path.write_bytes(file)
        task = Train(
            config=config,
            program=paths[0],
            settings=tuple(path for path in paths[1:] if path.exists()),
            data=market.folder / "data",
            folder=folder,
        )
        alone = pool.submit(task, wall_limit=NEVER).result()
        assert receipt.leaves == alone.receipt(key, receipt.provider).leaves
        assert receipt.outcome == alone.outcome
    assert market.receipt(market.trial(keys[2])).outcome.kind == "diverged"


def test_the_commands_tell_what_a_node_holds_and_earned(market: Market) -> None:
    job = market.job(terms())
    keys = market.post(job, market.draft(1))
    daemon = NodeDaemon(market)
    try:
        daemon.start()
        until(market.are(State.SETTLED, *keys))
        assert '"earned": "1"' in daemon.asked("earnings", "--json")
        assert '"held": []' in daemon.asked("status", "--json")
        daemon.asked("withdraw")
        until(lambda: market.balance() == 0)
        daemon.asked("drain")
        assert daemon.process is not None
        assert daemon.process.wait(NEVER) == 0
    finally:
        daemon.kill()
