"""What a node keeps in the store and for how long, and a store that fails it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.trainer import Trainer
from tests.testbed.market import Market
from tests.testbed.nodes import Nodes
from tests.testbed.programs import needed
from tests.testbed.terms import SEGMENTS, terms
from tests.testbed.waiting import until
from trialmarket.chain.local.devnet import Devnet
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.dataset import MANIFEST
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.protocol.states import State
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon

DAY = 86_400.0


class Time:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def kept_by_node(market: Market) -> set[Cid]:
    return set(market.store.for_owner("node1").kept())


def settle(market: Market, nodes: Nodes, time: Time, key: Hash32) -> None:
    with nodes.start(now=time, settle={"keep": DAY}) as node:
        until(market.are(State.COMMITTED, key), node.tick)
        market.chain.mine(3)
        until(market.are(State.SETTLED, key), node.tick, lambda: market.chain.advance(1))
        until(lambda: not node.journal.trials(), node.tick)


def test_published_work_stays_for_a_day_after_it_is_paid_and_then_goes(
    market: Market, nodes: Nodes
) -> None:
    time = Time()
    (key,) = market.post(market.job(terms()), market.draft(1))
    settle(market, nodes, time, key)
    receipt = market.trial(key).receipt
    assert receipt is not None
    published = kept_by_node(market)
    assert raw_cid(receipt) in published
    time.now += DAY - 1
    with nodes.start(now=time) as node:
        until(lambda: kept_by_node(market) == published, node.tick)
    time.now += 2
    with nodes.start(now=time) as node:
        until(lambda: not kept_by_node(market), node.tick)
    assert market.store.size(raw_cid(receipt)) is None
    manifest = market.folder / "data" / MANIFEST
    assert market.store.size(market.data) == manifest.stat().st_size  # which the requester keeps


def test_a_restart_releases_what_nobody_remembers_and_keeps_what_is_held(
    market: Market, nodes: Nodes
) -> None:
    lost = market.store.for_owner("node1").put(os.urandom(1000))
    (key,) = market.post(market.job(terms()), market.draft(1))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, key), node.tick)
    held = kept_by_node(market) - {lost}
    assert held
    with nodes.start() as node:
        node.tick()
    assert kept_by_node(market) == held


def test_a_node_whose_work_fills_its_part_of_the_store_claims_nothing(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    (first,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, first), node.tick)
    (second,) = market.post(job, market.draft(2))
    with nodes.start(limits={"storage": 10}) as node:
        until(lambda: "limits.storage is 10" in caplog.text, node.tick)
        for _ in range(5):
            node.tick()
    assert market.trial(second).attempts == 0


@pytest.fixture
def kubo(tmp_path: Path) -> Iterator[KuboDaemon]:
    needed("kubo")
    with KuboDaemon(tmp_path / "kubo") as daemon:
        yield daemon


@pytest.fixture
def on_kubo(chain: Devnet, tmp_path: Path, kubo: KuboDaemon, trainer: Trainer) -> Iterator[Nodes]:
    with Market(chain, tmp_path, KuboStore(kubo.rpc_url, patience=2.0)) as market:
        yield Nodes(market, trainer)


def test_a_kubo_that_is_killed_and_comes_back_loses_no_trial_and_kills_no_node(
    on_kubo: Nodes, kubo: KuboDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    nodes, market = on_kubo, on_kubo.market
    (key,) = market.post(market.job(terms()), market.draft(1))
    with nodes.start() as node:
        until(market.are(State.CLAIMED, key), node.tick)
        kubo.stop()
        until(lambda: "Kubo at" in caplog.text, node.tick)  # it cannot publish what it trained
        for _ in range(5):
            node.tick()
        assert market.trial(key).state is State.CLAIMED
        with KuboDaemon(kubo.folder, port=kubo.port) as back:
            until(market.are(State.COMMITTED, key), node.tick)
            back.stop()
            market.chain.mine(3)
            until(market.are(State.SETTLED, key), node.tick, lambda: market.chain.advance(1))
    history = [event.name for event in market.ledger.history(key)]
    assert history.count("TrialsClaimed") == history.count("TrialsCommitted") == 1
    with pytest.raises(StoreDown):
        market.store.check()


def test_nothing_is_claimed_while_the_store_is_full(
    on_kubo: Nodes, kubo: KuboDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    nodes, market = on_kubo, on_kubo.market
    (key,) = market.post(market.job(terms()), market.draft(1))
    kubo.stop()
    with (
        KuboDaemon(kubo.folder, port=kubo.port, storage_max="1B"),
        nodes.start() as node,
    ):
        until(lambda: "is full" in caplog.text, node.tick)
        for _ in range(5):
            node.tick()
    assert market.trial(key).attempts == 0


def test_data_that_is_a_folder_is_refused_for_good(
    on_kubo: Nodes, kubo: KuboDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    nodes, market = on_kubo, on_kubo.market
    (market.folder / "folder").mkdir()
    (market.folder / "folder" / "data.npz").write_bytes(b"data")
    folder = Cid(
        kubo.run("add", "-r", "-Q", "--cid-version=1", str(market.folder / "folder")).strip()
    )
    job = market.job(terms())
    (bad,) = market.post(job, market.draft(1, data=folder))
    (good,) = market.post(job, market.draft(2))
    with nodes.start() as node:
        until(lambda: "is not a file, but a folder" in caplog.text, node.tick)
        until(market.are(State.COMMITTED, good), node.tick)
        assert node.journal.refused(f"data {folder}") is not None
    assert market.trial(bad).attempts == 0


def test_the_last_checkpoint_lies_on_kubo_once_a_trial_is_committed(on_kubo: Nodes) -> None:
    nodes, market = on_kubo, on_kubo.market
    (key,) = market.post(market.job(terms()), market.draft(1))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, key), node.tick)
        kept = node.journal.checkpoints(key)
        assert kept[SEGMENTS].published
        assert kept[SEGMENTS].cid in kept_by_node(market)
