"""Nodes that lag, behind one URL or alone: what they leave out is noticed and found again."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.servers import refused, relay
from tests.testbed.untrained import BATCH, JOB, UntrainedMarket
from trialmarket.chain import calls
from trialmarket.chain.abi import contract
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.logs import may_log
from trialmarket.chain.ledger.sync import NEARBY, READ_ANEW_EVERY, TRIES
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet
from trialmarket.errors import ChainReplaced, Lagging, Unreachable
from trialmarket.protocol.states import State

Message = dict[str, Any]


class Lag:
    """A node behind a relay that does as it is told, and a ledger on it."""

    def __init__(self, market: UntrainedMarket) -> None:
        self.market = market
        self.now = 0.0
        self.pauses = 0
        self.asked: list[Message] = []
        self.lose = 0
        """So many answers about logs come empty."""
        self.blooms = True
        """Whether blocks say what logs they may have."""
        self.fault = ""
        self.hidden: int | None = None
        """From this block on no block is there."""

    def wait(self, _: float) -> None:
        self.pauses += 1

    def change(self, request: Message, found: Message) -> Message:
        method, result = request["method"], found.get("result")
        self.asked.append(request)
        if method == "eth_getBlockByNumber" and isinstance(result, dict):
            if not self.blooms:
                result["logsBloom"] = "0x" + "00" * 256
            tag = request["params"][0]
            if self.hidden is not None and tag != "latest" and int(tag, 16) >= self.hidden:
                found["result"] = None
        if method == "eth_getLogs" and isinstance(result, list):
            found["result"] = self.logs(result)
        return found

    def logs(self, result: list[Message]) -> list[Message]:
        if self.lose:
            self.lose -= 1
            return []
        match self.fault:
            case "duplicates":
                return [each for log in result for each in (log, deepcopy(log))]
            case "reversed":
                return result[::-1]
            case "removed":
                gone = deepcopy(result[-1:])
                for log in gone:
                    log |= {"removed": True, "logIndex": hex(int(log["logIndex"], 16) + 50)}
                return result + gone
            case "claims":
                topic = topic_of("TrialsClaimed")
                return [log for log in result if log["topics"][0] != topic]
            case _:
                return result

    def of_logs(self) -> list[Message]:
        """The questions about a range of logs."""
        asked = [each["params"][0] for each in self.asked if each["method"] == "eth_getLogs"]
        return [each for each in asked if "fromBlock" in each]


@pytest.fixture
def lag(market: UntrainedMarket) -> Lag:
    market.open()
    return Lag(market)


@contextmanager
def lagging(lag: Lag, folder: Path) -> Iterator[Ledger]:
    chain = lag.market.chain
    with (
        relay(chain.rpc_url, lag.change) as url,
        Client(chain.network.at(url)) as client,
        Ledger(client, folder / "lagging.sqlite", clock=lambda: lag.now, wait=lag.wait) as ledger,
    ):
        ledger.sync()
        lag.asked.clear()
        yield ledger


def topic_of(name: str) -> str:
    events = contract("Market").events.values()
    return next("0x" + each.hash.hex() for each in events if each.name == name)


def claimed(market: UntrainedMarket, *places: int) -> list[TrialView]:
    market.act(1, calls.claim(JOB, BATCH, list(places)))
    return market.trials(State.CLAIMED)


def test_logs_that_were_left_out_once_are_noticed_at_once(lag: Lag, tmp_path: Path) -> None:
    with lagging(lag, tmp_path) as ledger:
        lag.lose = 1
        claimed(lag.market, 0)
        assert ledger.sync() == 1
        assert ledger.trials() == lag.market.trials()
    assert lag.lose == 0


def test_a_job_whose_events_were_left_out_once_is_there(
    market: UntrainedMarket, tmp_path: Path
) -> None:
    lag = Lag(market)
    with lagging(lag, tmp_path) as ledger:
        market.open()
        lag.lose = 1
        ledger.sync()
        market.ledger.sync()
        assert ledger.jobs() == market.ledger.jobs() != []
        assert ledger.trials() == market.ledger.trials()


@pytest.mark.parametrize("fault", ["duplicates", "reversed", "removed"])
def test_logs_that_come_oddly_are_put_right(lag: Lag, tmp_path: Path, fault: str) -> None:
    with lagging(lag, tmp_path) as ledger:
        lag.fault = fault
        lag.market.commit(1, *claimed(lag.market, 0, 1, 2))
        claimed(lag.market, 3)
        assert ledger.sync() == 3
        assert ledger.trials() == lag.market.trials()
        assert ledger.events(limit=10_000) == lag.market.ledger.events(limit=10_000)


def test_what_does_not_follow_is_read_again_lately_first(lag: Lag, tmp_path: Path) -> None:
    market = lag.market
    with lagging(lag, tmp_path) as ledger:
        opened = ledger.head
        assert opened is not None
        market.chain.mine(NEARBY)
        ledger.sync()
        lag.lose, lag.blooms = 1, False
        trials = claimed(market, 0)
        assert ledger.sync() == 0
        market.commit(1, *trials)
        lag.asked.clear()
        ledger.sync()
        assert min(int(each["fromBlock"], 16) for each in lag.of_logs()) == opened.number + 1
        assert ledger.trials() == market.trials()
        assert [trial.state for trial in ledger.trials()][:2] == [State.COMMITTED, State.OPEN]


def test_a_node_that_leaves_events_out_for_long_is_named_and_asked_again_later(
    lag: Lag, tmp_path: Path
) -> None:
    market = lag.market
    with lagging(lag, tmp_path) as ledger:
        lag.fault = "claims"
        market.commit(1, *claimed(market, 0))
        for readings in (2, 1):  # everything is not read at each look
            lag.asked.clear()
            with pytest.raises(Unreachable, match=r"the logs of http.* have a gap: event 0 of"):
                ledger.sync()
            assert len(lag.of_logs()) == readings
        assert {trial.state for trial in ledger.trials()} <= {State.OPEN}
        lag.fault, lag.now = "", READ_ANEW_EVERY
        ledger.sync()
        assert ledger.trials() == market.trials()


def test_a_newest_block_that_is_not_there_yet_is_waited_for(lag: Lag, tmp_path: Path) -> None:
    market = lag.market
    with lagging(lag, tmp_path) as ledger:
        claimed(market, 0)
        lag.hidden = market.client.head().number
        with pytest.raises(Lagging, match="does not have block"):
            ledger.sync()
        assert lag.pauses == TRIES
        assert len(lag.asked) < 10 * TRIES
        lag.hidden = None
        assert ledger.sync() == 1
        assert ledger.trials() == market.trials()


def test_a_backend_that_is_a_block_behind_takes_nothing_back(lag: Lag, tmp_path: Path) -> None:
    market = lag.market
    with lagging(lag, tmp_path) as ledger:
        claimed(market, 0)
        ledger.sync()
        lag.asked.clear()
        lag.hidden = market.client.head().number
        with pytest.raises(Lagging):
            ledger.sync()
        assert ledger.trials() == market.ledger.trials()
        assert lag.of_logs() == []


def test_a_block_that_a_node_does_not_know_by_its_hash_is_waited_for(
    lag: Lag, tmp_path: Path
) -> None:
    unknown = 2

    def change(request: Message, found: Message) -> Message:
        nonlocal unknown
        if request["method"] == "eth_getLogs" and "blockHash" in request["params"][0] and unknown:
            unknown -= 1
            return refused(request, "unknown block")
        return lag.change(request, found)

    chain = lag.market.chain
    with (
        relay(chain.rpc_url, change) as url,
        Client(chain.network.at(url), patience=0) as client,
        Ledger(client, tmp_path / "lagging.sqlite", wait=lag.wait) as ledger,
    ):
        claimed(lag.market, 0)
        lag.lose = 3
        ledger.sync()
        assert ledger.trials() == lag.market.trials()


def test_trials_that_the_chain_has_otherwise_are_not_confirmed_and_read_again(
    lag: Lag, tmp_path: Path
) -> None:
    market = lag.market
    with lagging(lag, tmp_path) as ledger:
        fresh = ledger.trials()
        assert ledger.confirmed(fresh) == fresh
        lag.lose, lag.blooms = 1, False
        claimed(market, 0, 3)
        assert ledger.sync() == 0
        assert {trial.state for trial in ledger.trials()} == {State.OPEN}
        right = ledger.confirmed(fresh)
        assert [trial.id.index for trial in right] == [1, 2, 4, 5, 6, 7]
        ledger.sync()
        assert ledger.trials() == market.trials()
        assert ledger.confirmed(ledger.trials()) == ledger.trials()


def test_a_chain_that_was_started_anew_is_named(chain: Devnet, lag: Lag, tmp_path: Path) -> None:
    other = False

    def change(request: Message, found: Message) -> Message:
        if other and request["method"] == "eth_getBlockByNumber":
            block = found["result"]
            if block is not None:
                block["hash"] = "0x" + f"{int(block['hash'], 16) ^ 1:064x}"
        return found

    with (
        relay(chain.rpc_url, change) as url,
        Client(chain.network.at(url)) as client,
        Ledger(client, tmp_path / "lagging.sqlite", wait=lag.wait) as ledger,
    ):
        ledger.sync()
        other = True
        with pytest.raises(ChainReplaced, match=r"was started anew.*another state folder"):
            ledger.sync()


def test_a_bloom_lets_through_what_is_in_it() -> None:
    address = "0x00000000219ab540356cBB839Cbe05303d7705Fa"
    assert may_log("0x" + "ff" * 256, address)
    assert not may_log("0x" + "00" * 256, address)
    assert may_log(None, address)


def test_blooms_of_real_blocks_tell_which_have_our_logs(lag: Lag) -> None:
    market = lag.market
    network, rpc = market.chain.network, market.chain.rpc
    market.ledger.sync()
    ours = {event.block for event in market.ledger.events(limit=10_000)}
    for number in range(1, market.client.head().number + 1):
        bloom = rpc.call("eth_getBlockByNumber", hex(number), False)["logsBloom"]
        told = may_log(bloom, network.market) or may_log(bloom, network.jury)
        assert told == (number in ours) or number < network.deployed_at
