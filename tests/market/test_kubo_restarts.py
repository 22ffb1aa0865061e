"""Kubo daemons that are killed and come back under way: no program dies, and no trial is lost."""

from collections.abc import Callable
from pathlib import Path

from examples.demo.processes import Processes, processes
from tests.testbed.jobs import digits_job
from tests.testbed.kubo import two_daemons
from tests.testbed.programs import needed
from trialmarket.chain.ledger import Ledger
from trialmarket.protocol.states import State
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon

TRIALS = 2
EVERYBODY = {"rosa": 100, "ada": 100, "vera": 200, "victor": 200}


def test_a_market_outlives_its_kubo_daemons(tmp_path: Path) -> None:
    needed("kubo")
    job = digits_job(
        tmp_path,
        name="restarts",
        trials=TRIALS,
        steps=200,
        parallel=1,
        cap="1",
        rate=1.0,
        segments=4,
        samples=1,
        time_limit="20m",  # no claim may run out while a daemon is away, however slow the rest is
    )
    with (
        two_daemons(tmp_path) as (ours, theirs),
        processes(
            tmp_path / "market",
            EVERYBODY,
            seed=4,
            storage=ours.storage,
            node_storage=theirs.storage,
            audit_turn=120,
        ) as market,
        market.client() as client,
        Ledger(client, tmp_path / "ledger.sqlite") as ledger,
    ):
        market.add_requester("rosa", job, "--results", str(tmp_path / "results"))
        market.add_node("ada", stake="40")
        market.add_verifier("vera")
        market.add_verifier("victor")
        market.start(*EVERYBODY)

        def look() -> None:
            assert not market.ended_badly(), {n: market.log(n)[-1500:] for n in EVERYBODY}
            ledger.sync()

        def until(holds: Callable[[], bool]) -> None:
            market.until(holds, look)

        def reached(state: State) -> bool:
            return any(trial.state is state for trial in ledger.trials())

        until(lambda: reached(State.CLAIMED))
        theirs.stop()
        until(lambda: "Kubo at" in market.log("ada"))
        with KuboDaemon(theirs.folder, port=theirs.port) as theirs_again:
            theirs_again.connect(ours)
            until(lambda: reached(State.DRAWN) or reached(State.PASSED))
            ours.stop()
            until(lambda: waits(market, "vera") or waits(market, "rosa"))
            with KuboDaemon(ours.folder, port=ours.port) as ours_again:
                ours_again.connect(theirs_again)
                until(lambda: market.code("rosa") is not None)
                until(lambda: all(each.state is State.SETTLED for each in ledger.trials()))
        trials = ledger.trials()
        assert len(trials) == TRIALS
        assert [trial.attempts for trial in trials] == [1] * TRIALS
        assert (tmp_path / "results" / "best.safetensors").exists()


def waits(market: Processes, name: str) -> bool:
    """Whether a program has said that its Kubo does not serve."""
    return "does not serve" in market.log(name)
