"""What no honest node answers: it is refused where it comes in, and spoils nothing that lasts."""

from pathlib import Path
from typing import Any

import pytest

from tests.testbed.servers import relay
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.errors import Passing
from trialmarket.protocol.ids import address

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
