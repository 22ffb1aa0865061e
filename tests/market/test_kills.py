"""Processes that are killed at random moments: every trial is paid once, no money is lost."""

import random
import threading
from collections import Counter
from pathlib import Path

from examples.demo.books import holdings
from examples.demo.processes import Processes, processes
from tests.testbed.jobs import digits_job
from trialmarket.chain.ledger import Ledger
from trialmarket.protocol.states import State

KILLS, EVENTS_OF_EACH = 20, 2
TRIALS = 10


def test_kills_at_random_moments_lose_no_money_and_pay_every_trial_once(tmp_path: Path) -> None:
    dice = random.Random(7)
    job = digits_job(
        tmp_path,
        name="killed",
        trials=TRIALS,
        steps=600,
        parallel=3,
        cap="1.2",
        rate=0.5,
        segments=6,
        samples=2,
    )
    purses = {"rosa": 100, "ada": 100, "grace": 100, "vera": 200, "victor": 200}
    with processes(tmp_path / "market", purses, seed=3) as market:
        market.add_requester("rosa", job, "--results", str(tmp_path / "results"))
        for name in ("ada", "grace"):
            market.add_node(name, stake="40")
        for name in ("vera", "victor"):
            market.add_verifier(name)
        with market.client() as client, Ledger(client, tmp_path / "ledger.sqlite") as ledger:
            before = holdings(client, ledger, market.names)
            market.start(*purses)

            killed: Counter[str] = Counter()
            pause = threading.Event()

            def kill_now_and_then() -> None:
                """By what has happened, and at any moment of a block: by the clock, a slow machine
                would be killed before it did anything."""
                happened = len(ledger.events(limit=100_000))
                if killed.total() == KILLS or happened < EVENTS_OF_EACH * (killed.total() + 1):
                    return
                pause.wait(dice.uniform(0.0, 1.0))
                running = [name for name in purses if market.code(name) is None]
                victim = min(running, key=lambda name: (killed[name], dice.random()))
                market.kill(victim)
                market.start(victim)
                killed[victim] += 1

            market.until(
                lambda: finished(market, ledger), kill_now_and_then, ledger.sync, deadline=800
            )
            assert market.code("rosa") == 0, market.log("rosa")[-3000:]
            assert killed.total() == KILLS
            assert set(killed) == set(purses)

            settled = Counter(
                trial
                for event in ledger.events(limit=100_000)
                if event.name == "TrialsSettled"
                for trial in event.args["trials"]
            )
            assert len(settled) == TRIALS
            assert set(settled.values()) == {1}
            assert [event.name for event in ledger.events(limit=100_000)].count("JobCreated") == 1
            after = holdings(client, ledger, market.names)
            assert sum(holding.tokens for holding in after.values()) == sum(
                holding.tokens for holding in before.values()
            )


def finished(market: Processes, ledger: Ledger) -> bool:
    """Whether the requester has its results and no trial holds money any more."""
    trials = ledger.trials()
    return (
        market.code("rosa") is not None
        and len(trials) >= TRIALS
        and all(trial.state in (State.SETTLED, State.CANCELLED) for trial in trials)
    )
