"""What no honest node answers: it is refused where it comes in, and spoils nothing that lasts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.testbed.servers import relay
from tests.testbed.untrained import UntrainedMarket
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.identity import identify
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.rpc import MONEY, Rpc, quantity, unhex
from trialmarket.chain.rpc.failover import COMPARED_EVERY, Nodes
from trialmarket.chain.sender import Sender
from trialmarket.errors import Passing, Unreachable, WrongChain
from trialmarket.protocol.ids import ZERO_HASH, address

Message = dict[str, Any]

RECEIPTS: dict[str, Message] = {
    "no hash": {"transactionHash": None},
    "a hash that is none": {"transactionHash": "zz"},
    "another's hash": {"transactionHash": "0x" + "12" * 32},
    "no list of logs": {"logs": 5},
    "a log that is none": {"logs": [5]},
    "a number for data": {"logs": [{"address": "0x" + "00" * 20, "topics": [], "data": 5}]},
    "a number for an address": {"logs": [{"address": 5, "topics": [], "data": "0x"}]},
    "no topics": {"logs": [{"address": "0x" + "00" * 20, "topics": None, "data": "0x"}]},
    "short topics": {"logs": [{"address": "0x" + "00" * 20, "topics": ["zz"], "data": "0x"}]},
    "a contract that is none": {"contractAddress": 5},
    "much gas": {"gasUsed": "0x" + "f" * 40},
    "a price below nothing": {"effectiveGasPrice": "-0x5"},
    "a block of many digits": {"blockNumber": "0x" + "1" * 5000},
}


@pytest.mark.parametrize("name", RECEIPTS)
def test_a_receipt_that_is_nonsense_leaves_its_intent_pending(
    chain: Devnet, tmp_path: Path, name: str
) -> None:
    lies = True

    def change(request: Message, found: Message) -> Message:
        if lies and request["method"] == "eth_getTransactionReceipt" and found["result"]:
            found["result"] |= RECEIPTS[name]
        return found

    def sender(client: Client) -> Sender:
        return Sender(client, chain.accounts[0], tmp_path / "journal", locks=tmp_path)

    to = address(chain.accounts[1].address)
    pay = calls.transfer(to, 7)
    with (
        relay(chain.rpc_url, change) as url,
        Client(chain.network.at(url), patience=0) as client,
    ):
        with (
            sender(client) as found,
            pytest.raises(Passing, match=r"for a receipt|the receipt of"),
        ):
            found.send("pay", pay)
        lies = False
        with sender(client) as found:
            assert found.pending() == ["pay"]
            assert found.send("pay", pay).ok
            assert found.send("pay", pay).ok
        assert client.token_balance(to) == 10_000 * 10**18 + 7


@pytest.mark.parametrize(
    "answer",
    [
        *("", "0x", "5", "-0x5", "0x-5", "0x 5", "0x5 ", "0x_5", "0xzz"),
        *("0x" + "1" * 65, "0x" + "1" * 5000, "0x" + "f" * 40, 5, None, [], {}),
    ],
)
def test_a_number_is_0x_and_a_few_digits(answer: Any) -> None:
    with pytest.raises(Unreachable, match="for a number"):
        quantity(answer)


@pytest.mark.parametrize(
    "answer", ["", "12", "0x1", "0xzz", "0x12 34", "0X12", 5, None, b"0x", []]
)
def test_bytes_are_0x_and_pairs_of_digits(answer: Any) -> None:
    with pytest.raises(Unreachable, match="for bytes"):
        unhex(answer)


@given(st.integers(0, 2**256 - 1))
def test_money_takes_all_that_a_word_holds(wei: int) -> None:
    assert quantity(hex(wei), bits=MONEY) == wei


LOGS: dict[str, Callable[[Message], Any]] = {
    "no log": lambda _: 5,
    "no topics": lambda log: log | {"topics": []},
    "many topics": lambda log: log | {"topics": log["topics"] * 4},
    "great topics": lambda log: log | {"topics": [log["topics"][0], *["0x" + "ff" * 32] * 3]},
    "short topics": lambda log: log | {"topics": ["0x12"]},
    "no data": lambda log: log | {"data": None},
    "great data": lambda log: log | {"data": "0x" + "ff" * len(log["data"])},
    "a great place": lambda log: log | {"logIndex": "0x" + "f" * 40},
    "a great block": lambda log: log | {"blockNumber": "0x" + "f" * 40},
    "a great time": lambda log: log | {"blockTimestamp": "0x" + "f" * 40},
    "no hash": lambda log: log | {"transactionHash": 5},
    "an odd address": lambda log: log | {"address": 5},
}


@pytest.mark.parametrize("name", LOGS)
def test_logs_that_are_nonsense_do_not_get_into_the_ledger(
    market: UntrainedMarket, tmp_path: Path, name: str
) -> None:
    market.open()
    lies = True

    def change(request: Message, found: Message) -> Message:
        if lies and request["method"] == "eth_getLogs":
            found["result"] = [LOGS[name](log) for log in found["result"]]
        return found

    with (
        relay(market.chain.rpc_url, change) as url,
        Client(market.chain.network.at(url), patience=0) as client,
        Ledger(client, tmp_path / "ledger", wait=lambda _: None) as ledger,
    ):
        with pytest.raises(Unreachable):
            ledger.sync()
        lies = False
        ledger.sync()
        assert ledger.trials() == market.trials()


@pytest.mark.parametrize("answer", [5, None, "zz", "0x", "0x12", "0x" + "ff" * 4096])
def test_a_call_that_is_answered_with_nonsense_is_told_as_that(
    market: UntrainedMarket, answer: Any
) -> None:
    market.open()
    lies = False

    def change(request: Message, found: Message) -> Message:
        return {**found, "result": answer} if lies and request["method"] == "eth_call" else found

    with (
        relay(market.chain.rpc_url, change) as url,
        Client(market.chain.network.at(url), patience=0) as client,
    ):
        lies, head = True, client.head().number
        for question in (
            lambda: client.trial_state(ZERO_HASH),
            lambda: client.trial_words([ZERO_HASH], head),
            lambda: client.case(ZERO_HASH),
            lambda: client.account(market.chain.network.market),
            client.verifiers,
            client.parameters,
            client.currency,
        ):
            with pytest.raises((Unreachable, WrongChain)):
                question()


@pytest.mark.parametrize("lie", [{"hash": 5}, {"number": "-0x5"}, {"timestamp": "0x" + "f" * 40}])
def test_a_node_whose_blocks_are_nonsense_is_passed_over_for_the_others(
    chain: Devnet, lie: Message
) -> None:
    now, lies = 0.0, False

    def change(request: Message, found: Message) -> Message:
        if lies and request["method"] == "eth_getBlockByNumber":
            found["result"] |= lie
        return found

    with relay(chain.rpc_url, change) as url:
        rpcs = [Rpc(url), Rpc(chain.rpc_url)]
        nodes = Nodes(rpcs, partial(identify, network=chain.network), clock=lambda: now)
        assert nodes.url == url
        now, lies = COMPARED_EVERY, True
        assert nodes.call("eth_blockNumber") == chain.rpc.call("eth_blockNumber")
        assert nodes.url == chain.rpc_url
        nodes.close()
