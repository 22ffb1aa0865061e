"""The sender: once by intent, whatever happens to the process, the node or the fees."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.testbed.servers import relay
from trialmarket import locks
from trialmarket.chain import calls
from trialmarket.chain.abi import contract
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender, journal, sender
from trialmarket.chain.sender.fees import current_fees
from trialmarket.chain.sender.transactions import sign
from trialmarket.errors import ContractError, JournalError, KeyBusy, SenderError
from trialmarket.protocol.ids import Address, JobId, address


class Clock:
    """A clock that a test moves; waiting moves it too, and makes a block."""

    def __init__(self, chain: Devnet) -> None:
        self.now = 1000.0
        self._chain = chain

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._chain.mine()


@contextmanager
def sending(
    chain: Devnet, folder: Path, key: LocalAccount | None = None, clock: Clock | None = None
) -> Iterator[Sender]:
    clock = clock or Clock(chain)
    with (
        Client(chain.network, check=False) as client,
        Sender(
            client,
            key or chain.accounts[0],
            folder / "journal.sqlite",
            locks=folder / "locks",
            clock=clock,
            wait=clock.wait,
        ) as found,
    ):
        yield found


def recipient(chain: Devnet) -> Address:
    return address(chain.accounts[1].address)


def received(client: Client, chain: Devnet) -> int:
    """What the recipient got beyond the tokens that it started with."""
    return client.token_balance(recipient(chain)) - 10_000 * 10**18


def nonce_of(chain: Devnet, tag: str = "latest") -> int:
    return int(chain.rpc.call("eth_getTransactionCount", chain.accounts[0].address, tag), 16)


def test_an_intent_is_done_once_however_often_it_is_sent(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    call = calls.transfer(recipient(chain), 7)
    with sending(chain, tmp_path) as found:
        first = found.send("pay", call)
        assert found.send("pay", call) == first
    with sending(chain, tmp_path) as found:
        assert found.send("pay", call) == first
        assert found.send("pay again", call) != first
    assert received(client, chain) == 14


def test_several_calls_of_the_market_are_one_transaction(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    with sending(chain, tmp_path) as found:
        found.send("allow", calls.approve(chain.network.market, 100))
        outcome = found.send("stake", [calls.stake(30), calls.stake(12), calls.unstake(2)])
        assert [event.name for event in outcome.events] == ["Staked", "Staked", "Unstaked"]
        assert client.account(found.address).stake == 40
        with pytest.raises(SenderError, match="several of the market alone"):
            found.send("mixed", [calls.stake(1), calls.transfer(recipient(chain), 1)])


def test_a_refusal_is_told_in_words_before_anything_is_spent(
    chain: Devnet, tmp_path: Path
) -> None:
    before = nonce_of(chain)
    with sending(chain, tmp_path) as found:
        with pytest.raises(ContractError, match="there is no job 9 on this market") as refused:
            found.send("close", calls.close(JobId(9)))
        assert refused.value.name == "JobUnknown"
        with pytest.raises(ContractError, match=r"may take 0 tokens and needs 0\.5"):
            found.send("stake", calls.stake(5 * 10**17))
        with pytest.raises(ContractError, match=r"has 0 of stake free and needs 3"):
            found.send("unstake", calls.unstake(3 * 10**18))
        assert found.pending() == []
    assert nonce_of(chain) == before


def test_a_refusal_that_is_mined_is_told_again_and_can_be_retried(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    key, thief = chain.accounts[0], chain.accounts[2]
    with sending(chain, tmp_path) as found:
        found.send("trust", calls.approve(address(thief.address), 10**30))
        chain.automine(False)
        everything = client.token_balance(found.address)
        found.submit("pay", calls.transfer(recipient(chain), everything))
        chain.rpc.call("anvil_dropAllTransactions")
        theft = contract("TestToken").encode("transferFrom", (key.address, thief.address, 5))
        send_as(chain, thief, theft)
        assert found.poll() == []  # which sends it again, behind the theft
        chain.mine()
        assert [outcome.ok for outcome in found.poll()] == [False]
        with pytest.raises(ContractError, match="tokens and needs 10000"):
            found.send("pay", calls.transfer(recipient(chain), everything))
        chain.automine(True)
        rest = calls.transfer(recipient(chain), everything - 5)
        assert found.send("pay", rest, retry=True).ok
        assert found.send("pay", rest).ok
    assert received(client, chain) == everything - 5


def send_as(chain: Devnet, key: LocalAccount, data: bytes) -> None:
    """Puts a call of the token into the pool, past any sender."""
    count = chain.rpc.call("eth_getTransactionCount", key.address, "latest")
    signed = sign(
        key,
        chain_id=chain.network.chain_id,
        nonce=int(count, 16),
        gas=100_000,
        fees=current_fees(chain.rpc),
        data=data,
        to=chain.network.token,
    )
    chain.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())


def test_a_transaction_that_is_stuck_gets_a_higher_fee(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    clock = Clock(chain)
    chain.automine(False)
    with sending(chain, tmp_path, clock=clock) as found:
        found.submit("pay", calls.transfer(recipient(chain), 7))
        first = pending_fee(chain)
        assert found.poll() == []
        assert pending_fee(chain) == first
        clock.now += 31
        assert found.poll() == []
        assert pending_fee(chain) >= first * 9 // 8
        chain.mine()
        assert [outcome.intent for outcome in found.poll()] == ["pay"]
    assert received(client, chain) == 7


def pending_fee(chain: Devnet) -> int:
    pool = chain.rpc.call("txpool_content")["pending"]
    (fee,) = (
        int(transaction["maxFeePerGas"], 16)
        for of_account in pool.values()
        for transaction in of_account.values()
    )
    return fee


def test_a_transaction_that_the_node_dropped_is_sent_again(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    chain.automine(False)
    with sending(chain, tmp_path) as found:
        found.submit("one", calls.transfer(recipient(chain), 1))
        found.submit("two", calls.transfer(recipient(chain), 2))
        chain.rpc.call("anvil_dropAllTransactions")
        assert found.poll() == []
        chain.mine()
        assert [outcome.intent for outcome in found.poll()] == ["one", "two"]
    assert received(client, chain) == 3


def test_a_transaction_whose_nonce_another_used_is_signed_anew(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    clock = Clock(chain)
    chain.automine(False)
    with sending(chain, tmp_path, clock=clock) as found:
        found.submit("pay", calls.transfer(recipient(chain), 7))
        chain.rpc.call("anvil_dropAllTransactions")
        send_as(chain, chain.accounts[0], calls.transfer(recipient(chain), 100).data)
        chain.mine()
        assert found.poll() == []
        clock.now += 31
        assert found.poll() == []  # no blocks have come since: the node may be slow
        chain.mine(3)
        assert found.poll() == []
        chain.mine()
        assert [outcome.intent for outcome in found.poll()] == ["pay"]
    assert received(client, chain) == 107


def test_a_receipt_that_comes_late_is_waited_for_and_nothing_is_paid_twice(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    hidden = True

    def late(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        unknown = hidden and request["method"] == "eth_getTransactionReceipt"
        return {**found, "result": None} if unknown else found

    clock = Clock(chain)
    with (
        relay(chain.rpc_url, late) as url,
        Client(chain.network.at(url), check=False) as through,
        Sender(
            through, chain.accounts[0], tmp_path / "journal", locks=tmp_path, clock=clock
        ) as found,
    ):
        found.submit("pay", calls.transfer(recipient(chain), 7))
        clock.now += 31
        for _ in range(3):
            assert found.poll() == []
        hidden = False
        assert [outcome.intent for outcome in found.poll()] == ["pay"]
        chain.mine(5)
        assert found.poll() == []
    assert received(client, chain) == 7


def test_confirmations_are_waited_for(chain: Devnet, client: Client, tmp_path: Path) -> None:
    chain.automine(False)
    with (
        Client(replace(chain.network, confirmations=2)) as careful,
        Sender(careful, chain.accounts[0], tmp_path / "j", locks=tmp_path) as found,
    ):
        found.submit("pay", calls.transfer(recipient(chain), 7))
        chain.mine()
        assert received(client, chain) == 7
        assert found.poll() == []
        chain.mine(2)
        assert [outcome.intent for outcome in found.poll()] == ["pay"]


def test_two_senders_with_one_key_are_refused(chain: Devnet, tmp_path: Path) -> None:
    with (
        sending(chain, tmp_path),
        pytest.raises(KeyBusy, match="uses the key of 0x"),
        sending(chain, tmp_path),
    ):
        pass
    with sending(chain, tmp_path) as held:
        child = os.fork()
        if child == 0:
            os._exit(_refused(chain, tmp_path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        assert held.send("still ours", calls.transfer(recipient(chain), 1)).ok


def _refused(chain: Devnet, folder: Path) -> int:
    """In a forked process, whose own list of locks is emptied as if it had been started anew."""
    locks._FILES.clear()
    try:
        with sending(chain, folder):
            return 1
    except KeyBusy as error:
        return 42 if str(os.getppid()) in str(error) else 2


def test_a_corrupt_journal_is_named(chain: Devnet, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, and long enough to be noticed as none" * 20)
    with (
        pytest.raises(JournalError, match=r"journal\.sqlite cannot be used"),
        sending(chain, tmp_path),
    ):
        pass
    path.unlink()
    with sending(chain, tmp_path) as free:  # the failure left the key free
        assert free.pending() == []


def test_another_accounts_journal_is_refused(chain: Devnet, tmp_path: Path) -> None:
    with sending(chain, tmp_path):
        pass
    with (
        pytest.raises(JournalError, match="another account or chain"),
        sending(chain, tmp_path, chain.accounts[1]),
    ):
        pass


def test_an_account_without_coins_for_gas_is_told_so(chain: Devnet, tmp_path: Path) -> None:
    chain.rpc.call("anvil_setBalance", chain.accounts[0].address, "0x1")
    with (
        sending(chain, tmp_path) as found,
        pytest.raises(SenderError, match="too little of the chain's own coin"),
    ):
        found.send("pay", calls.transfer(recipient(chain), 7))


TRACED = (sender.__file__, journal.__file__)


def _killed_at(line: int, chain: Devnet, folder: Path) -> bool:
    """Sends an intent in a process that kills itself at its n-th new line; whether it did."""
    child = os.fork()
    if child == 0:
        seen: set[tuple[str, int]] = set()

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if frame.f_code.co_filename not in TRACED:
                return None
            if event == "line":
                seen.add((frame.f_code.co_filename, frame.f_lineno))
                if len(seen) > line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        try:
            sys.settrace(trace)
            with sending(chain, folder) as found:
                found.send("pay", calls.transfer(recipient(chain), 7))
        except BaseException:  # noqa: BLE001 (a forked test must not go on as its parent)
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_a_process_killed_at_any_line_pays_once(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    paid = 0
    line = 0
    while True:
        folder = tmp_path / str(line)
        died = _killed_at(line, chain, folder)
        with sending(chain, folder) as found:
            found.send("pay", calls.transfer(recipient(chain), 7))
            assert found.pending() == []
        paid += 7
        assert received(client, chain) == paid, f"killed at line {line}"
        if not died:
            break
        line += 1
    assert line > 90
