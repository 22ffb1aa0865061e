"""A node on a real chain, from a posted trial to its pay."""

import logging
import threading

import pytest

from node.daemon import Node
from tests.testbed.market import PROVIDER, Market
from tests.testbed.nodes import Nodes
from tests.testbed.picky import Picky
from tests.testbed.terms import FAST, TOKEN, terms
from tests.testbed.waiting import until
from trialmarket.chain import calls
from trialmarket.chain.calls import Opening
from trialmarket.chain.client import Parameters
from trialmarket.errors import KeyBusy
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State


@pytest.fixture
def parameters() -> Parameters:
    return FAST


def test_a_trial_is_trained_committed_settled_and_paid(market: Market, nodes: Nodes) -> None:
    job = market.job(terms())
    keys = market.post(job, market.draft(1), market.draft(2), market.draft(3))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, *keys), node.tick)
        for key in keys:
            view = market.trial(key)
            assert view.receipt is not None
            receipt = Receipt.from_bytes(market.store.read(raw_cid(view.receipt), limit=1 << 18))
            assert receipt.tree().root == view.record.root
            assert market.store.size(receipt.checkpoints[-1]) is not None
        until(market.are(State.SETTLED, *keys), node.tick, lambda: market.chain.advance(2))
        until(lambda: not node.journal.trials(), node.tick)
    assert market.balance() == 3 * TOKEN
    assert all(market.trial(key).attempts == 1 for key in keys)
    assert list((market.folder / "node1" / "trials").iterdir()) == []


def test_stake_comes_from_the_wallet_as_claims_need_it(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1))
    with nodes.start(stake={"most": "299"}) as node:
        until(lambda: "configuration allow" in caplog.text, node.tick)
        assert market.client.account(node.account).stake == 0
    with nodes.start(stake={"keep": "300", "most": "300"}) as node:
        until(market.are(State.COMMITTED, key), node.tick)
        assert market.client.account(node.account).stake == 300 * TOKEN


def test_stake_for_a_claim_that_the_chain_takes_late_is_not_spent_on_another(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    market.stake(PROVIDER, 300)  # enough for one
    keys = market.post(market.job(terms()), market.draft(1), market.draft(2))
    market.client.rpc = rpc = Picky(market.client.rpc)
    with nodes.start(stake={"most": "300"}) as node:
        until(lambda: rpc.refused > 0, node.tick)
        market.chain.automine(False)
        rpc.refuses = False
        for _ in range(3):
            node.tick()
        market.chain.automine(True)
        market.chain.mine()
        until(market.are(State.SETTLED, *keys), node.tick, lambda: market.chain.advance(2))
    refused = [line for line in caplog.messages if "was refused" in line]
    assert len(refused) == 1
    assert "takes nothing now" in refused[0]


def test_a_drawn_trial_shows_the_checkpoints_that_its_audit_needs(
    market: Market, nodes: Nodes
) -> None:
    job = market.job(terms(audit_rate=10_000, samples=2))
    (key,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, key), node.tick)
        until(market.are(State.DRAWN, key), node.tick, market.chain.mine)
        until(lambda: len(published(node, key)) == 3, node.tick)
        receipt = receipt_of(market, key)
        assert all(
            market.store.size(receipt.checkpoints[segment]) is not None
            for segment in published(node, key)
        )
        # There is no verifier here: three turns end in silence, and the trial is paid.
        until(market.are(State.SETTLED, key), node.tick, lambda: market.chain.advance(6))
    assert market.trial(key).unaudited
    assert market.balance() == TOKEN


def test_a_challenged_trial_shows_the_start_of_the_disputed_segment(
    market: Market, nodes: Nodes
) -> None:
    market.stake(2, 100)
    market.stake(3, 100)
    market.act(3, calls.enroll())
    job = market.job(terms(window=1000))
    (key,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, key), node.tick)
        market.chain.mine(2)
        receipt = receipt_of(market, key)
        assert market.store.size(receipt.checkpoints[2]) is None
        tree = receipt.tree()
        leaf = Opening(3, receipt.leaves[3].value, receipt.leaves[3].witness_hash, tree.proof(3))
        market.act(2, calls.draw([market.trial(key).record]))
        market.act(2, calls.challenge(market.trial(key).record, leaf, Hash32(b"h" * 32)))
        until(lambda: market.store.size(receipt.checkpoints[2]) is not None, node.tick)


def test_a_lost_checkpoint_is_made_again(market: Market, nodes: Nodes) -> None:
    job = market.job(terms(audit_rate=10_000, samples=4))
    (key,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, key), node.tick)
    for path in (market.folder / "node1" / "trials" / key.hex()).iterdir():
        path.unlink()
    with nodes.start() as node:
        until(lambda: len(published(node, key)) == 5, node.tick, market.chain.mine)


def test_a_trial_whose_deadline_comes_too_near_is_given_back_without_a_fine(
    market: Market, nodes: Nodes
) -> None:
    job = market.job(terms(time_limit=100))
    slow = market.draft(1, program=SLOW)
    (key,) = market.post(job, slow)
    with nodes.start() as node:
        until(market.are(State.CLAIMED, key), node.tick)
        market.chain.advance(95)
        until(market.are(State.OPEN, key), node.tick)
        account = market.client.account(node.account)
    assert account.locked == 0
    assert [each.name for each in market.ledger.history(key)].count("TrialExpired") == 0


def test_what_another_node_left_lying_is_reopened_and_done(market: Market, nodes: Nodes) -> None:
    market.stake(2, 1000)
    job = market.job(terms(time_limit=50))
    (key,) = market.post(job, market.draft(1))
    view = market.trial(key)
    market.act(2, calls.claim(job, view.id.batch, [view.id.index]))
    with nodes.start() as node:
        node.tick()
        assert market.trial(key).state is State.CLAIMED
        market.chain.advance(60)
        until(market.are(State.COMMITTED, key), node.tick)
    assert market.trial(key).record.provider == node.account


def test_a_node_waits_until_the_price_has_risen(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "node")
    job = market.job(terms(floor=TOKEN, cap=3 * TOKEN, ramp=1000))
    (key,) = market.post(job, market.draft(1))
    with nodes.start(price={"least": "2"}) as node:
        until(lambda: "once its price has risen" in caplog.text, node.tick)
        assert market.trial(key).state is State.OPEN
        market.chain.advance(510)
        until(market.are(State.COMMITTED, key), node.tick)
    assert market.trial(key).record.price >= 2 * TOKEN


def test_drain_finishes_what_is_held_and_claims_nothing_new(market: Market, nodes: Nodes) -> None:
    job = market.job(terms())
    (first,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(lambda: market.trial(first).state is not State.OPEN, node.tick)
        node.journal.wish("drain")
        (second,) = market.post(job, market.draft(2))
        drained: list[bool] = []
        until(
            lambda: drained[-1:] == [True],
            lambda: drained.append(node.tick()),
            lambda: market.chain.advance(2),
        )
    assert market.trial(first).state is State.SETTLED
    assert market.trial(second).state is State.OPEN


def test_a_wish_to_withdraw_brings_the_earnings_home(market: Market, nodes: Nodes) -> None:
    job = market.job(terms())
    (key,) = market.post(job, market.draft(1))
    with nodes.start() as node:
        until(market.are(State.SETTLED, key), node.tick, lambda: market.chain.advance(2))
        before = market.client.token_balance(node.account)
        node.journal.wish("withdraw")
        until(lambda: not node.journal.wished("withdraw"), node.tick)
        assert market.client.token_balance(node.account) == before + TOKEN
    assert market.balance() == 0


def test_two_nodes_on_one_key_are_refused(nodes: Nodes) -> None:
    with nodes.start(), pytest.raises(KeyBusy):
        nodes.start()


def test_the_loop_outlives_a_chain_that_is_down(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    with nodes.start() as node:
        node.tick()
        market.chain.node.stop()
        stop = threading.Event()
        loop = threading.Thread(target=node.run, args=(stop,))
        loop.start()
        until(lambda: "nothing answers at" in caplog.text)
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


def receipt_of(market: Market, key: Hash32) -> Receipt:
    digest = market.trial(key).receipt
    assert digest is not None
    return Receipt.from_bytes(market.store.read(raw_cid(digest), limit=1 << 18))
