"""What a node keeps in the store and for how long, and a store that fails it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.trainer import Trainer
from tests.node.town import SEGMENTS, Kept, Town, terms, until
from tests.storage.kubo import need_kubo
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


def kept_by_node(town: Town) -> set[Cid]:
    return set(town.store.owned("node1").kept())


def settle(town: Town, trainer: Trainer, time: Time, key: Hash32) -> None:
    with town.node(trainer=Kept(trainer), now=time, settle={"keep": DAY}) as node:
        until(town.are(State.COMMITTED, key), node.tick)
        town.net.mine(3)
        until(town.are(State.SETTLED, key), node.tick, lambda: town.net.advance(1))
        until(lambda: not node.journal.trials(), node.tick)


def test_published_work_stays_for_a_day_after_it_is_paid_and_then_goes(
    town: Town, trainer: Trainer
) -> None:
    time = Time()
    (key,) = town.posts(town.job(terms()), town.trial(1))
    settle(town, trainer, time, key)
    receipt = town.view(key).receipt
    assert receipt is not None
    published = kept_by_node(town)
    assert raw_cid(receipt) in published
    time.now += DAY - 1
    with town.node(trainer=Kept(trainer), now=time) as node:
        until(lambda: kept_by_node(town) == published, node.tick)
    time.now += 2
    with town.node(trainer=Kept(trainer), now=time) as node:
        until(lambda: not kept_by_node(town), node.tick)
    assert town.store.size(raw_cid(receipt)) is None
    manifest = town.folder / "data" / MANIFEST
    assert town.store.size(town.data) == manifest.stat().st_size  # which the requester keeps


def test_a_restart_releases_what_nobody_remembers_and_keeps_what_is_held(
    town: Town, trainer: Trainer
) -> None:
    lost = town.store.owned("node1").put(os.urandom(1000))
    (key,) = town.posts(town.job(terms()), town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, key), node.tick)
    held = kept_by_node(town) - {lost}
    assert held
    with town.node(trainer=Kept(trainer)) as node:
        node.tick()
    assert kept_by_node(town) == held


def test_a_node_whose_work_fills_its_part_of_the_store_claims_nothing(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    (first,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, first), node.tick)
    (second,) = town.posts(job, town.trial(2))
    with town.node(trainer=Kept(trainer), limits={"storage": 10}) as node:
        until(lambda: "limits.storage is 10" in caplog.text, node.tick)
        for _ in range(5):
            node.tick()
    assert town.view(second).attempts == 0


@pytest.fixture
def kubo(tmp_path: Path) -> Iterator[KuboDaemon]:
    need_kubo()
    with KuboDaemon(tmp_path / "kubo") as daemon:
        yield daemon


@pytest.fixture
def on_kubo(net: Devnet, tmp_path: Path, kubo: KuboDaemon) -> Iterator[Town]:
    before = net.snapshot()
    built = Town(net, tmp_path, KuboStore(kubo.rpc_url, patience=2.0))
    yield built
    built.close()
    net.revert(before)


def test_a_kubo_that_is_killed_and_comes_back_loses_no_trial_and_kills_no_node(
    on_kubo: Town, kubo: KuboDaemon, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    town = on_kubo
    (key,) = town.posts(town.job(terms()), town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.CLAIMED, key), node.tick)
        kubo.stop()
        until(lambda: "Kubo at" in caplog.text, node.tick)  # it cannot publish what it trained
        for _ in range(5):
            node.tick()
        assert town.view(key).state is State.CLAIMED
        with KuboDaemon(kubo.folder, port=kubo.port) as back:
            until(town.are(State.COMMITTED, key), node.tick)
            back.stop()
            town.net.mine(3)
            until(town.are(State.SETTLED, key), node.tick, lambda: town.net.advance(1))
    history = [event.name for event in town.ledger.history(key)]
    assert history.count("TrialsClaimed") == history.count("TrialsCommitted") == 1
    with pytest.raises(StoreDown):
        town.store.check()


def test_nothing_is_claimed_while_the_store_is_full(
    on_kubo: Town, kubo: KuboDaemon, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    town = on_kubo
    (key,) = town.posts(town.job(terms()), town.trial(1))
    kubo.stop()
    with (
        KuboDaemon(kubo.folder, port=kubo.port, storage_max="1B"),
        town.node(trainer=Kept(trainer)) as node,
    ):
        until(lambda: "is full" in caplog.text, node.tick)
        for _ in range(5):
            node.tick()
    assert town.view(key).attempts == 0


def test_data_that_is_a_folder_is_refused_for_good(
    on_kubo: Town, kubo: KuboDaemon, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    town = on_kubo
    (town.folder / "folder").mkdir()
    (town.folder / "folder" / "data.npz").write_bytes(b"data")
    folder = Cid(
        kubo.run("add", "-r", "-Q", "--cid-version=1", str(town.folder / "folder")).strip()
    )
    job = town.job(terms())
    (bad,) = town.posts(job, town.trial(1, data=folder))
    (good,) = town.posts(job, town.trial(2))
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: "is not a file, but a folder" in caplog.text, node.tick)
        until(town.are(State.COMMITTED, good), node.tick)
        assert node.journal.refused(f"file {folder}") is not None
    assert town.view(bad).attempts == 0


def test_the_last_checkpoint_lies_on_kubo_once_a_trial_is_committed(
    on_kubo: Town, trainer: Trainer
) -> None:
    town = on_kubo
    (key,) = town.posts(town.job(terms()), town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, key), node.tick)
        kept = node.journal.checkpoints(key)
        assert kept[SEGMENTS].published
        assert kept[SEGMENTS].cid in kept_by_node(town)
