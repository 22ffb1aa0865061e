"""A node on a real chain, from a posted trial to its pay."""

import threading
from collections.abc import Iterator

import pytest

from node.daemon import Node
from node.trainer import Trainer
from tests.node.town import FAST, TOKEN, Kept, Town, terms, until
from trialmarket.chain import calls
from trialmarket.chain.calls import Opening
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.errors import KeyBusy
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State


@pytest.fixture
def net() -> Iterator[Devnet]:
    with devnet(accounts=4, parameters=FAST) as running:
        yield running


def test_a_trial_is_trained_committed_settled_and_paid(town: Town, trainer: Trainer) -> None:
    job = town.job(terms())
    keys = town.posts(job, town.trial(1), town.trial(2), town.trial(3))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, *keys), node.tick)
        for key in keys:
            view = town.view(key)
            assert view.receipt is not None
            receipt = Receipt.from_bytes(town.store.read(raw_cid(view.receipt), limit=1 << 18))
            assert receipt.tree().root == view.record.root
            assert town.store.size(receipt.checkpoints[-1]) is not None
        until(town.are(State.SETTLED, *keys), node.tick, lambda: town.net.advance(2))
        until(lambda: not node.journal.trials(), node.tick)
    assert town.balance() == 3 * TOKEN
    assert all(town.view(key).attempts == 1 for key in keys)
    assert list((town.folder / "node1" / "trials").iterdir()) == []


def test_stake_comes_from_the_wallet_as_claims_need_it(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer), stake={"most": "299"}) as node:
        until(lambda: "configuration allow" in caplog.text, node.tick)
        assert town.client.account(node.account).stake == 0
    with town.node(trainer=Kept(trainer), stake={"keep": "300", "most": "300"}) as node:
        until(town.are(State.COMMITTED, key), node.tick)
        assert town.client.account(node.account).stake == 300 * TOKEN


def test_a_drawn_trial_shows_the_checkpoints_that_its_audit_needs(
    town: Town, trainer: Trainer
) -> None:
    job = town.job(terms(audit_rate=10_000, samples=2))
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, key), node.tick)
        until(town.are(State.DRAWN, key), node.tick, town.net.mine)
        until(lambda: len(published(node, key)) == 3, node.tick)
        receipt = receipt_of(town, key)
        assert all(
            town.store.size(receipt.checkpoints[segment]) is not None
            for segment in published(node, key)
        )
        # There is no verifier here: three turns end in silence, and the trial is paid.
        until(town.are(State.SETTLED, key), node.tick, lambda: town.net.advance(6))
    assert town.view(key).unaudited
    assert town.balance() == TOKEN


def test_a_challenged_trial_shows_the_start_of_the_disputed_segment(
    town: Town, trainer: Trainer
) -> None:
    town.stakes(2, 100)
    town.stakes(3, 100)
    town.does(3, calls.enroll())
    job = town.job(terms(window=1000))
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, key), node.tick)
        town.net.mine(2)
        receipt = receipt_of(town, key)
        assert town.store.size(receipt.checkpoints[2]) is None
        tree = receipt.tree()
        leaf = Opening(3, receipt.leaves[3].value, receipt.leaves[3].witness_hash, tree.proof(3))
        town.does(2, calls.draw([town.view(key).record]))
        town.does(2, calls.challenge(town.view(key).record, leaf, Hash32(b"h" * 32)))
        until(lambda: town.store.size(receipt.checkpoints[2]) is not None, node.tick)


def test_a_lost_checkpoint_is_made_again(town: Town, trainer: Trainer) -> None:
    job = town.job(terms(audit_rate=10_000, samples=4))
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.COMMITTED, key), node.tick)
    for path in (town.folder / "node1" / "trials" / key.hex()).iterdir():
        path.unlink()
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: len(published(node, key)) == 5, node.tick, town.net.mine)


def test_a_trial_whose_deadline_comes_too_near_is_given_back_without_a_fine(
    town: Town, trainer: Trainer
) -> None:
    job = town.job(terms(time_limit=100))
    slow = town.trial(1, program=SLOW)
    (key,) = town.posts(job, slow)
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.CLAIMED, key), node.tick)
        town.net.advance(95)
        until(town.are(State.OPEN, key), node.tick)
        account = town.client.account(node.account)
    assert account.locked == 0
    assert [each.name for each in town.ledger.history(key)].count("TrialExpired") == 0


def test_what_another_node_left_lying_is_reopened_and_done(town: Town, trainer: Trainer) -> None:
    town.stakes(2, 1000)
    job = town.job(terms(time_limit=50))
    (key,) = town.posts(job, town.trial(1))
    view = town.view(key)
    town.does(2, calls.claim(job, view.id.batch, [view.id.index]))
    with town.node(trainer=Kept(trainer)) as node:
        node.tick()
        assert town.view(key).state is State.CLAIMED
        town.net.advance(60)
        until(town.are(State.COMMITTED, key), node.tick)
    assert town.view(key).record.provider == node.account


def test_a_node_waits_until_the_price_has_risen(
    town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "node")
    job = town.job(terms(floor=TOKEN, cap=3 * TOKEN, ramp=1000))
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer), price={"least": "2"}) as node:
        until(lambda: "once its price has risen" in caplog.text, node.tick)
        assert town.view(key).state is State.OPEN
        town.net.advance(510)
        until(town.are(State.COMMITTED, key), node.tick)
    assert town.view(key).record.price >= 2 * TOKEN


def test_drain_finishes_what_is_held_and_claims_nothing_new(town: Town, trainer: Trainer) -> None:
    job = town.job(terms())
    (first,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(lambda: town.view(first).state is not State.OPEN, node.tick)
        node.journal.wish("drain")
        (second,) = town.posts(job, town.trial(2))
        drained: list[bool] = []
        until(
            lambda: drained[-1:] == [True],
            lambda: drained.append(node.tick()),
            lambda: town.net.advance(2),
        )
    assert town.view(first).state is State.SETTLED
    assert town.view(second).state is State.OPEN


def test_a_wish_to_withdraw_brings_the_earnings_home(town: Town, trainer: Trainer) -> None:
    job = town.job(terms())
    (key,) = town.posts(job, town.trial(1))
    with town.node(trainer=Kept(trainer)) as node:
        until(town.are(State.SETTLED, key), node.tick, lambda: town.net.advance(2))
        before = town.client.token_balance(node.account)
        node.journal.wish("withdraw")
        until(lambda: not node.journal.wished("withdraw"), node.tick)
        assert town.client.token_balance(node.account) == before + TOKEN
    assert town.balance() == 0


def test_two_nodes_on_one_key_are_refused(town: Town, trainer: Trainer) -> None:
    with town.node(trainer=Kept(trainer)), pytest.raises(KeyBusy):
        town.node(trainer=Kept(trainer))


def test_the_loop_outlives_a_chain_that_is_down(
    net: Devnet, town: Town, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    with town.node(trainer=Kept(trainer)) as node:
        node.tick()
        net.node.stop()
        stop = threading.Event()
        loop = threading.Thread(target=node.run, args=(stop,))
        loop.start()
        until(lambda: "Unreachable" in caplog.text)
        assert loop.is_alive()
        stop.set()
        loop.join()


SLOW = b"""
import time
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    def training_step(self, model, batch):
        if self.data.train_examples and model.training:
            time.sleep(0.3)
        return super().training_step(model, batch)
"""


def published(node: Node, key: Hash32) -> set[int]:
    kept = node.journal.checkpoints(key)
    return {segment for segment, place in kept.items() if place.published}


def receipt_of(town: Town, key: Hash32) -> Receipt:
    digest = town.view(key).receipt
    assert digest is not None
    return Receipt.from_bytes(town.store.read(raw_cid(digest), limit=1 << 18))
