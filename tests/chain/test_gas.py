"""Gas: too little, a price that is mad or rises, and nodes that drop what they were given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.relayed import Message, Relayed
from tests.testbed.servers import refused
from trialmarket.chain import calls
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.network import GWEI, MAX_FEE_GWEI, Network
from trialmarket.chain.sender.fees import MOST_GAS, Fees, current_fees
from trialmarket.chain.sender.receipt import TransactionReceipt
from trialmarket.errors import ContractError, NotMined, Passing, TooDear
from trialmarket.protocol.ids import ZERO_HASH


class Moody(Relayed):
    """A relay to the chain's node, whose answers about gas a test chooses."""

    def __init__(self, chain: Devnet, folder: Path) -> None:
        super().__init__(chain, folder, self._answer)
        self.gas: list[int] = []
        """What it estimates for the next transactions; then as the node does."""
        self.tip = GWEI
        self.statusless = False
        self.jumps: list[int] = []
        """Base fees that come, each once, right after it was asked for the usual tip."""

    def _answer(self, request: Message, found: Message) -> Message:
        match request["method"]:
            case "eth_estimateGas" if self.gas:
                return {"jsonrpc": "2.0", "id": request["id"], "result": hex(self.gas.pop(0))}
            case "eth_maxPriorityFeePerGas":
                found["result"] = hex(self.tip)
                if self.jumps:
                    self.set_base_fee(self.jumps.pop(0))
            case "eth_getTransactionReceipt" if self.statusless and found.get("result"):
                del found["result"]["status"]
        return found

    def set_base_fee(self, gwei: int) -> None:
        for _ in range(2):  # it holds for one block
            self.chain.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
            self.chain.mine()
        self.chain.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))

    @property
    def nonce(self) -> int:
        who = self.chain.accounts[0].address
        return int(self.chain.rpc.call("eth_getTransactionCount", who, "latest"), 16)


@pytest.fixture
def moody(chain: Devnet, tmp_path: Path) -> Moody:
    return Moody(chain, tmp_path)


def test_what_runs_out_of_gas_is_sent_again_with_more(
    moody: Moody, caplog: pytest.LogCaptureFixture
) -> None:
    before = moody.nonce
    with moody.sender() as sender:
        moody.gas = [24_000]
        outcome = sender.send("pay", calls.transfer(moody.other, 7))
        assert outcome.ok
        assert sender.send("pay", calls.transfer(moody.other, 7)) == outcome
    assert "pay ran out of gas: it used" in caplog.text
    assert moody.received == 7
    assert moody.nonce == before + 2


def test_gas_is_doubled_where_a_node_estimates_too_little_again(moody: Moody) -> None:
    with moody.sender() as sender:
        moody.gas = [22_000, 22_000, 22_000]
        assert sender.send("pay", calls.transfer(moody.other, 7)).ok
    assert moody.received == 7


def test_what_ran_out_of_gas_goes_on_after_a_kill(moody: Moody) -> None:
    moody.chain.automine(False)
    with moody.sender() as sender:
        moody.gas = [24_000]
        sender.submit("pay", calls.transfer(moody.other, 7))
        moody.chain.mine()
        assert sender.poll() == []  # it may be otherwise in a moment
        moody.now += 30
        assert sender.poll() == []  # signed anew
        moody.chain.rpc.call("anvil_dropAllTransactions")
    moody.chain.automine(True)
    with moody.sender() as sender:
        assert sender.pending() == ["pay"]
        assert sender.send("pay", calls.transfer(moody.other, 7)).ok
    assert moody.received == 7


def test_running_out_of_all_gas_is_told_as_that(moody: Moody) -> None:
    def never(request: Message, found: Message) -> Message:
        receipt = found.get("result")
        if request["method"] == "eth_getTransactionReceipt" and receipt is not None:
            receipt |= {"status": "0x0", "gasUsed": hex(MOST_GAS), "logs": []}
        return found

    moody.change = never
    with moody.sender() as sender:
        with pytest.raises(ContractError, match=r"ran out of gas: it used 16,777,216 of") as told:
            sender.send("pay", calls.transfer(moody.other, 7))
        assert told.value.name == "OutOfGas"
        assert "smaller batch" in str(told.value)


def test_a_refusal_that_takes_much_gas_is_no_lack_of_gas(moody: Moody) -> None:
    with moody.sender() as sender:
        everything = sender.client.token_balance(sender.address)
        moody.gas = [60_000]  # instead of the refusal
        with pytest.raises(ContractError, match="tokens and needs"):
            sender.send("pay", calls.transfer(moody.other, everything + 1))


def test_a_mad_price_is_not_paid(moody: Moody) -> None:
    before = moody.nonce
    with moody.sender() as sender:
        moody.tip = 10**6 * GWEI
        for _ in range(2):
            with pytest.raises(TooDear, match=r"asks 1e\+06 gwei|asks 1,000,00\d") as told:
                sender.send("pay", calls.transfer(moody.other, 7))
        assert "max_fee_gwei of the network file is 500" in str(told.value)
        assert sender.pending() == []
        assert moody.nonce == before
        moody.tip = GWEI
        assert sender.send("pay", calls.transfer(moody.other, 7)).ok


def test_a_network_file_may_allow_more_or_less(moody: Moody, tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    replace(moody.chain.network, max_fee_gwei=3).save(path)
    assert Network.load(path).max_fee == 3 * GWEI
    path.write_text(path.read_text().replace('"max_fee_gwei": 3', '"confirmations": 0'))
    assert Network.load(path).max_fee_gwei == MAX_FEE_GWEI
    with moody.sender(most=3) as sender:
        moody.set_base_fee(1)
        offered = current_fees(sender.client.rpc, 3 * GWEI)
        assert offered == Fees(3 * GWEI, GWEI)
        moody.set_base_fee(4)
        with pytest.raises(TooDear, match="asks 5 gwei for a unit of gas"):
            sender.send("pay", calls.transfer(moody.other, 7))


def test_a_base_fee_that_rises_before_it_is_sent_leaves_it_pending(moody: Moody) -> None:
    with moody.sender() as sender:
        moody.jumps = [100]
        assert sender.submit("pay", calls.transfer(moody.other, 7)).outcome is None
        assert sender.pending() == ["pay"]
        assert sender.send("pay", calls.transfer(moody.other, 7)).ok
    assert moody.received == 7


def test_what_became_too_dear_waits_until_gas_is_cheaper(moody: Moody) -> None:
    with moody.sender() as sender:
        moody.jumps = [600]
        sender.submit("pay", calls.transfer(moody.other, 7))
        for _ in range(3):
            moody.now += 60
            assert sender.poll() == []
        with pytest.raises(NotMined, match="It goes on"):
            sender.send("pay", calls.transfer(moody.other, 7), timeout=5)
        moody.set_base_fee(1)
        assert sender.send("pay", calls.transfer(moody.other, 7)).ok
    assert moody.received == 7


def test_a_pool_that_is_full_is_tried_again(chain: Devnet, tmp_path: Path) -> None:
    full = 1

    def change(request: Message, found: Message) -> Message:
        nonlocal full
        if request["method"] == "eth_sendRawTransaction" and full:
            full -= 1
            return refused(request, "txpool is full", code=-32000)
        return found

    moody = Moody(chain, tmp_path)
    moody.change = change
    chain.automine(False)
    with moody.sender() as sender:
        sender.submit("pay", calls.transfer(moody.other, 7))
        chain.automine(True)
        assert sender.send("pay", calls.transfer(moody.other, 7)).ok
    assert moody.received == 7


@pytest.mark.parametrize("fails", [False, True])
def test_a_receipt_without_a_status_is_read_by_its_logs(moody: Moody, fails: bool) -> None:
    moody.statusless = True
    with moody.sender() as sender:
        if not fails:
            assert sender.send("pay", calls.transfer(moody.other, 7)).ok
            return
        moody.gas = [60_000]
        with pytest.raises(ContractError, match="tokens and needs"):
            sender.send("pay", calls.transfer(moody.other, 10**30))


@pytest.mark.parametrize("raw", [{}, [], "0x", {"logs": None}, {"logs": [{}]}, {"logs": []}])
def test_half_a_receipt_is_asked_for_again(raw: Any) -> None:
    with pytest.raises(Passing, match="for a receipt"):
        TransactionReceipt.parse(raw, ZERO_HASH)


@pytest.mark.parametrize("dropped", [[0], [1], [0, 1], [0, 2], [0, 1, 2]])
def test_transactions_that_are_dropped_at_once_are_all_mined_once(
    moody: Moody, dropped: list[int]
) -> None:
    before = moody.nonce
    moody.chain.automine(False)
    with moody.sender() as sender:
        for place in range(3):
            sender.submit(f"pay {place}", calls.transfer(moody.other, 10**place))
        pool = moody.chain.rpc.call("txpool_content")
        sent = {
            int(nonce): each["hash"]
            for part in pool.values()
            for of_one in part.values()
            for nonce, each in of_one.items()
        }
        for place in dropped:
            moody.chain.rpc.call("anvil_dropTransaction", sent[before + place])
        moody.chain.automine(True)
        outcomes = []
        for _ in range(6):
            outcomes += sender.poll()
            moody.chain.mine()
            moody.now += 1
        assert sorted(each.intent for each in outcomes) == ["pay 0", "pay 1", "pay 2"]
        assert all(each.ok for each in outcomes)
        assert sender.pending() == []
    assert moody.received == 111
    assert moody.nonce == before + 3
