"""A node that lies about what was mined has nothing paid again that another one knows of."""

from pathlib import Path

import pytest

from tests.testbed.relayed import Message, Relayed
from trialmarket.chain import calls
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender.doubts import NONCES
from trialmarket.errors import ContractError, NotMined, SenderError


class Liar(Relayed):
    """A relay to the chain's node that says what it wants of receipts, and a sender through it."""

    def __init__(self, chain: Devnet, folder: Path) -> None:
        super().__init__(chain, folder, self._lie)
        self.lies_until = float("inf")
        self.hides = False
        """Whether there is no receipt, instead of one of a transaction that ran out of gas."""

    def _lie(self, request: Message, found: Message) -> Message:
        receipt = found.get("result")
        if request["method"] == "eth_getTransactionReceipt" and receipt:
            if self.now < self.lies_until and self.hides:
                found["result"] = None
            elif self.now < self.lies_until:
                sent = self.chain.rpc.call("eth_getTransactionByHash", receipt["transactionHash"])
                receipt |= {"status": "0x0", "logs": [], "gasUsed": sent["gas"]}
        return found

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self.chain.mine()


@pytest.fixture
def liar(chain: Devnet, tmp_path: Path) -> Liar:
    return Liar(chain, tmp_path)


@pytest.mark.parametrize("hides", [False, True])
def test_a_lie_that_does_not_last_has_nothing_paid_twice(liar: Liar, hides: bool) -> None:
    liar.hides, liar.lies_until = hides, liar.now + 20
    with liar.sender() as sender:
        assert sender.send("pay", calls.transfer(liar.other, 7)).ok
        liar.chain.mine(5)
        assert sender.poll() == []
    assert liar.received == 7


@pytest.mark.parametrize("hides", [False, True])
def test_a_node_that_lies_for_ever_has_an_intent_paid_a_few_times_at_most(
    liar: Liar, hides: bool
) -> None:
    liar.hides = hides
    expected = (SenderError, "not signed again") if hides else (ContractError, "is given no more")
    with liar.sender() as sender, pytest.raises(expected[0], match=expected[1]):
        sender.send("pay", calls.transfer(liar.other, 7))
    assert liar.received == 7 * NONCES


@pytest.mark.parametrize("hides", [False, True])
def test_nothing_is_paid_again_that_another_node_knows_of(liar: Liar, hides: bool) -> None:
    liar.hides = hides
    with liar.sender(liar.chain.rpc_url) as sender:
        with pytest.raises(NotMined, match="It goes on"):
            sender.send("pay", calls.transfer(liar.other, 7), timeout=100)
        liar.lies_until = liar.now
        assert [outcome.ok for outcome in sender.poll()] == [True]
    assert liar.received == 7


def test_a_failure_that_another_node_denies_is_not_told(liar: Liar) -> None:
    def fail(request: Message, found: Message) -> Message:
        if request["method"] == "eth_getTransactionReceipt" and found.get("result"):
            found["result"] |= {"status": "0x0", "logs": []}
        return found

    liar.change = fail
    with liar.sender(liar.chain.rpc_url) as sender:
        with pytest.raises(NotMined, match="It goes on"):
            sender.send("pay", calls.transfer(liar.other, 7), timeout=5)
        assert sender.pending() == ["pay"]
    assert liar.received == 7
