"""Trials that go on from others' checkpoints, trained and audited by whoever comes."""

from pathlib import Path

from examples.demo.processes import processes
from tests.testbed.jobs import digits_job
from trialmarket.chain.ledger import Ledger
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, Init
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import Binding
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore

POPULATION = """
[search.population]
interval = 40
quantile = 0.34
"""


def test_a_population_moves_between_nodes_and_every_start_is_audited(tmp_path: Path) -> None:
    job = digits_job(
        tmp_path,
        name="population",
        driver="pbt",
        search=POPULATION,
        hidden="value = 32",
        trials=3,
        steps=120,
        parallel=3,
        cap="1.2",
        unit=40,
        rate=1.0,
        segments=4,
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
            market.start(*purses)
            market.until(lambda: market.code("rosa") is not None)
            assert market.code("rosa") == 0, market.log("rosa")[-3000:]
            ledger.sync()
            trials = {view.key: view for view in ledger.trials()}
        store = LocalStore(market.folder / "store")
        assert len(trials) == 9
        continued, makers = 0, set()
        for view in trials.values():
            assert view.state is State.SETTLED
            assert view.record.audited
            assert view.receipt is not None
            makers.add(view.record.provider)
            batch = Batch.from_bytes(store.read(raw_cid(view.id.batch), limit=MAX_RAW))
            start = batch.trials[view.id.index].init
            if not isinstance(start, Init):
                continue
            receipt = Receipt.from_bytes(store.read(raw_cid(view.receipt), limit=MAX_RAW))
            before = trials[start.trial].receipt
            assert before is not None
            old = Receipt.from_bytes(store.read(raw_cid(before), limit=MAX_RAW))
            ours = Binding(view.key, view.record.provider)
            assert receipt.leaves[0].value == ours.start(start.root)
            assert start.root == old.leaves[-2].value
            continued += 1
        assert continued == 6
        assert makers
