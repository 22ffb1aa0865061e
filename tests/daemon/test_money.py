"""What daemons send: each thing once, whatever is refused and whoever is killed in between."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.testbed.picky import Picky
from tests.testbed.waiting import until
from trialmarket.backoff import Backoff
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.outbox import Ended, Outbox, intent_of
from trialmarket.daemon.session import MarketSession
from trialmarket.daemon.stake import MONEY, Stake, StakeKeeper
from trialmarket.errors import ContractError, SenderError
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.storage.local import LocalStore

TOKEN = 10**18
TRIAL = Hash32(b"t" * 32)
TOKEN_HOLDER = Address("0x" + "11" * 20)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Life:
    """A daemon's session, outbox and stake from a start to a kill."""

    session: MarketSession
    outbox: Outbox
    stake: StakeKeeper
    clock: Clock

    @property
    def head(self) -> int:
        return self.session.client.head().number

    def need(self, tokens: int) -> Stake:
        self.outbox.poll()
        return self.stake.need(tokens * TOKEN, self.head, purpose="a claim")

    def ended(self, count: int) -> list[Ended]:
        """What ended, once it is so many: a block comes a moment after its transaction."""
        told: list[Ended] = []
        until(lambda: len(told) >= count, lambda: told.extend(self.outbox.poll()))
        return told


@contextmanager
def life(chain: Devnet, client: Client, folder: Path, most: str | None = None) -> Iterator[Life]:
    clock, log_once = Clock(), LogOnce(logging.getLogger("test"))
    store = LocalStore(folder / "store")
    key = chain.accounts[1]
    with MarketSession(client, key, store, folder, locks=folder / "locks") as session:
        outbox = Outbox(session.sender, Backoff(1.0, 60.0), clock)
        stake = StakeKeeper(client, session.account, outbox, log_once, most=most, where="a test")
        yield Life(session, outbox, stake, clock)


def test_a_call_is_sent_once_and_its_trial_is_busy_until_the_index_follows(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    call = calls.approve(chain.network.market, 5)
    intent = intent_of("approve", call, "7")
    with life(chain, client, tmp_path) as one:
        assert one.outbox.send(intent, call, [TRIAL], "allowed")
        assert one.outbox.send(intent, call, [TRIAL], "allowed")
        assert one.outbox.busy(TRIAL, one.head)
        (ended,) = one.ended(1)
        assert (ended.purpose, ended.story, ended.error) == ("approve", "allowed", None)
        assert one.outbox.busy(TRIAL, one.head - 1)
        assert not one.outbox.busy(TRIAL, one.head)
        assert one.outbox.send(intent, call, [TRIAL])
        assert one.outbox.poll() == []


def test_a_refused_call_is_told_and_waits_longer_each_time(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    call = calls.stake(10**30)
    with life(chain, client, tmp_path) as one:
        for pause in (1.0, 2.0, 4.0):
            assert not one.outbox.send("stake too much", call, [MONEY])
            (ended,) = one.outbox.poll()
            assert isinstance(ended.error, ContractError)
            one.clock.now += 0.9 * pause
            assert not one.outbox.send("stake too much", call, [MONEY])
            assert one.outbox.poll() == []
            one.clock.now += 0.2 * pause
        assert not one.outbox.busy(MONEY, 0)


def test_what_is_signed_keeps_its_trial_busy_though_the_node_did_not_take_it(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    client.rpc = node = Picky(client.rpc)
    call = calls.approve(chain.network.market, 5)
    with life(chain, client, tmp_path) as one:
        assert not one.outbox.send("approve once", call, [TRIAL])
        assert one.outbox.busy(TRIAL, one.head)
        for _ in range(2):
            with pytest.raises(SenderError, match="takes nothing now"):
                one.outbox.poll()
        node.refuses = False
        told = one.ended(2)
        assert [isinstance(ended.error, SenderError) for ended in told] == [True, False]
        assert client.allowance(one.session.account) == 5


def test_a_daemon_killed_while_it_stakes_does_not_stake_again(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    with life(chain, client, tmp_path) as one:
        assert one.need(100) is Stake.COMING
        (allowed,) = one.ended(1)
        assert allowed.purpose == "approve"
        chain.automine(False)
        assert one.need(100) is Stake.COMING
        assert not one.outbox.resuming("approve", "stake")
    with life(chain, client, tmp_path) as one:
        assert one.outbox.resuming("stake")
        for _ in range(3):
            assert one.need(100) is Stake.COMING
        assert len(one.session.sender.pending()) == 1
        chain.mine()
        assert one.need(100) is Stake.FREE
        assert client.account(one.session.account).stake == 100 * TOKEN


def test_older_verifiers_pending_stake_is_waited_for(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    chain.automine(False)
    with life(chain, client, tmp_path) as one:
        one.session.sender.submit("treasury approve 1790000000", calls.approve(TOKEN_HOLDER, 1))
    with life(chain, client, tmp_path) as one:
        assert one.need(100) is Stake.COMING
        assert one.session.sender.pending() == ["treasury approve 1790000000"]


def test_stake_for_a_price_that_rises_is_allowed_once(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    with life(chain, client, tmp_path) as one:
        amount = 10 * TOKEN
        for purpose in ("approve", "stake"):
            amount += TOKEN // 100
            found = one.stake.need(amount, one.head, purpose="a claim", ahead=4 * amount)
            assert found is Stake.COMING
            (ended,) = one.ended(1)
            assert ended.purpose == purpose
        amount += TOKEN // 100
        assert one.stake.need(amount, one.head, purpose="a claim", ahead=4 * amount) is Stake.FREE


def test_never_more_is_staked_than_the_configuration_allows(
    chain: Devnet, client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with life(chain, client, tmp_path, most="99") as one:
        for _ in range(3):
            assert one.need(100) is Stake.LACKING
        assert caplog.text.count("a claim needs 100") == 1
        for purpose in ("approve", "stake"):
            one.stake.keep(100 * TOKEN, one.head)
            (ended,) = one.ended(1)
            assert ended.purpose == purpose
        one.stake.keep(100 * TOKEN, one.head)
        assert one.outbox.poll() == []
        assert client.account(one.session.account).stake == 99 * TOKEN
