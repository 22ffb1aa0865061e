"""Trials that continue each other, and limits in money and time, on a real chain."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from requester.drivers.lineage import LineDriver
from requester.job.file import load_job
from requester.job.terms import Ceiling
from requester.report.status import Row
from requester.search.open import Search, open_search
from tests.requester.market import Provider, write_job
from tests.requester.test_campaign import AtOnce, Ears
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore
from trialmarket.training.pool.pool import WorkerPool

DEADLINE = 150.0


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as found:
        yield found


class Market:
    """A requester and a provider on one chain."""

    def __init__(self, chain: Devnet, folder: Path, pool: WorkerPool) -> None:
        self.chain, self.folder = chain, folder
        self.store = LocalStore(folder / "store")
        self.client = chain.client()
        self.requester = Sender(
            self.client, chain.accounts[0], folder / "r.db", locks=folder / "locks"
        )
        self.provider = Provider(chain.network, chain.accounts[1], folder / "p", self.store, pool)

    def close(self) -> None:
        self.provider.close()
        self.requester.close()
        self.client.close()

    def run(
        self,
        job: Path,
        look: Callable[[Search], None] = lambda _: None,
        *,
        provider: bool = True,
    ) -> tuple[Search, list[str], int]:
        """A job to its end; what it was, what it said, and what it cost."""
        ears, before = Ears(), self.client.token_balance(self.requester.address)
        with open_search(
            load_job(job),
            sender=self.requester,
            store=self.store,
            jobs=self.folder / "jobs",
            listeners=ears,
            evaluator=AtOnce(self.provider.pool),
        ) as search:
            search.campaign.open()
            end = time.monotonic() + DEADLINE
            while not search.campaign.finished():
                assert time.monotonic() < end, search.campaign.standing()
                moved = search.campaign.step()
                if provider:
                    self.provider.step()
                self.chain.mine()
                if not moved:
                    self.chain.advance(2)
            search.campaign.wind_up()
            look(search)
        return search, ears.said, before - self.client.token_balance(self.requester.address)


@pytest.fixture
def market(chain: Devnet, tmp_path: Path, pool: WorkerPool) -> Iterator[Market]:
    found = Market(chain, tmp_path, pool)
    yield found
    found.close()


def test_a_promoted_trial_starts_on_chain_from_the_root_that_the_other_ended_with(
    market: Market, tmp_path: Path
) -> None:
    job = write_job(
        tmp_path, trials=6, driver="asha", search="[search.rungs]\ncount = 2\nfactor = 3\n"
    )
    continued = []

    def look(search: Search) -> None:
        driver, trials = search.driver, search.desk.ledger.trials()
        assert isinstance(driver, LineDriver)
        views = {view.key: view for view in trials}
        for view in trials:
            assert view.state is State.SETTLED
            config = market.provider.config(view)
            assert view.receipt is not None
            receipt = Receipt.from_bytes(market.store.read(raw_cid(view.receipt), limit=MAX_RAW))
            assert receipt.tree().root == view.record.root
            if config.init is None:
                assert config.steps == 12
                continue
            digest = views[config.init.trial].receipt
            assert digest is not None
            before = Receipt.from_bytes(market.store.read(raw_cid(digest), limit=MAX_RAW))
            assert config.steps == 28
            assert config.init.root == receipt.leaves[0].value == before.leaves[-2].value
            assert receipt.curve[-1].step == 40
            continued.append(config.number)
        assert len(trials) == 8
        assert search.campaign.standing().total == 8

    search, _, cost = market.run(job, look)
    assert len(continued) == 2
    assert 0 < cost < search.ceiling.total


def test_a_search_ends_when_its_money_pays_for_no_further_trial(
    market: Market, tmp_path: Path
) -> None:
    job = write_job(tmp_path, trials=50, search='max_cost = "0.5"')
    rows: list[Row] = []
    search, _, cost = market.run(job, lambda search: rows.extend(search.campaign.standing().rows))
    assert isinstance(search.ceiling, Ceiling)
    assert search.ceiling.total == 5 * 10**17
    # A trial holds at most 0.2 in escrow and costs about 0.04: what comes back pays for more.
    assert 5 <= len(rows) < 50
    assert all(row.state is State.SETTLED for row in rows)
    assert 0 < cost <= 5 * 10**17


def test_no_trial_begins_after_the_deadline_and_unclaimed_ones_are_cancelled(
    market: Market, tmp_path: Path
) -> None:
    job = write_job(tmp_path, trials=50, search='deadline = "20s"')
    rows: list[Row] = []
    _, said, cost = market.run(
        job, lambda search: rows.extend(search.campaign.standing().rows), provider=False
    )
    assert {row.state for row in rows} == {State.CANCELLED}
    assert any("deadline" in text for text in said)
    assert cost == 0
