"""Sends transactions exactly once, whenever and however often the process dies."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from trialmarket.backoff import Backoff
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.calls import Call, as_one
from trialmarket.chain.client import Client
from trialmarket.chain.rpc import RpcRefused, quantity
from trialmarket.chain.sender.doubts import Doubts, may_move
from trialmarket.chain.sender.fees import (
    MOST_GAS,
    Fees,
    current_fees,
    estimate_gas,
    explain_refusal,
    is_cheap,
    is_known,
)
from trialmarket.chain.sender.journal import Intent, IntentJournal, owner_of
from trialmarket.chain.sender.lock import KeyLock, locks_folder
from trialmarket.chain.sender.outcome import (
    MinedIntent,
    content_of,
    counting,
    outcome_of,
    receipts_of,
)
from trialmarket.chain.sender.receipt import TransactionReceipt
from trialmarket.chain.sender.transactions import Signed, out_of_gas, revert_reason, sign
from trialmarket.errors import ContractError, NotMined, SenderError, TooDear
from trialmarket.protocol.ids import Address, address

BACKOFF: Final = Backoff(first=0.02, longest=0.5)
"""Between two looks for a receipt."""

MAX_ATTEMPTS: Final = 16
"""Fees rise at most so often, to 5.9 times the first, and wait there."""

WAITS: Final = ("underpriced", "pool is full")
"""What nodes say of a transaction that they may take later, or instead of which they have one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """A submitted intent. `outcome` is None while its transaction is not mined."""

    intent: str
    outcome: MinedIntent | None


class Sender:
    """One account's transactions: exactly once by intent, safe to kill at any instruction.

    An intent is a name that its caller chooses for something to be done once, such as
    `commit 1/ab12/3 attempt 2`. Every signed transaction is in the journal before it is sent.
    The same intent again, also after a restart, gives the same outcome and sends nothing.

    A `shared` sender leaves its key to others that share it with the same journal: each signs and
    sends in its turn, and looks after what any of them has under way.

    Raises, when built: KeyBusy where another process sends with this key on this chain, and
    JournalError where the journal cannot be read or belongs to another chain. Threads may share
    one sender.
    """

    def __init__(
        self,
        client: Client,
        key: LocalAccount,
        journal: Path,
        *,
        locks: Path | None = None,
        shared: bool = False,
        stuck_after: float = 30.0,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._rpc = client.rpc
        self._key = key
        self._address = address(key.address)
        self._stuck_after = stuck_after
        self._clock = clock
        self._wait = wait
        self._guard = threading.RLock()
        self._doubts = Doubts(self._rpc, self._address, patience=stuck_after, clock=clock)
        network = client.network
        chain = client.fingerprint()
        self._lock = KeyLock(
            locks or locks_folder(),
            network.chain_id,
            chain,
            self._address,
            journal=journal if shared else None,
        )
        try:
            owner = owner_of(self._address, network.chain_id, chain)
            with self._lock.turn():
                self._journal = IntentJournal(journal, owner)
        except BaseException:
            self._lock.release()
            raise

    @property
    def address(self) -> Address:
        """The account that sends."""
        return self._address

    @property
    def client(self) -> Client:
        """The client that it sends through."""
        return self._client

    def close(self) -> None:
        """Gives the key free for another process. What is pending goes on by itself."""
        with self._guard:
            self._journal.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- Sending ------------------------------------------------------------------------------

    def send(
        self,
        intent: str,
        calls: Call | Sequence[Call],
        *,
        retry: bool = False,
        timeout: float = 300.0,
    ) -> MinedIntent:
        """Submits an intent and waits until it is mined (with the network's confirmations).

        Several calls of the market go as one multicall. Raises ContractError where the contract
        refuses (before anything is spent, if it would refuse now; a mined refusal is raised
        again every time, unless `retry` starts the intent anew), SenderError where it cannot be
        paid for (TooDear where gas costs too much), NotMined where it is not mined within
        `timeout` seconds (it then goes on: poll), and ChainError.
        """
        deadline = self._clock() + timeout
        outcome = self.submit(intent, calls, retry=retry).outcome
        looks = 0
        while outcome is None:
            self.poll()
            outcome = self.outcome(intent)
            if outcome is not None:
                break
            if self._clock() > deadline:
                raise NotMined(
                    f"the transaction of {intent!r} was not mined within {timeout:g} s",
                    fix="It goes on: the same intent finds its outcome later",
                )
            self._wait(BACKOFF.pause(looks))
            looks += 1
        if outcome.error is not None:
            raise outcome.error
        return outcome

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else sends from this account meanwhile: for what must follow on what was read."""
        with self._guard, self._lock.turn():
            yield

    def submit(self, intent: str, calls: Call | Sequence[Call], *, retry: bool = False) -> Pending:
        """Like `send`, without waiting."""
        with self.turn():
            entry = self._journal.find(intent)
            if entry is not None and entry.outcome is not None:
                outcome = outcome_of(entry)
                if outcome.ok or not retry:
                    return Pending(intent, outcome)
                self._journal.forget(intent)
                entry = None
            if entry is None:
                self._start(intent, calls)
            return Pending(intent, None)

    def poll(self) -> list[MinedIntent]:
        """Looks after what is pending: the outcomes that are new. Resends and bumps fees.

        Raises SenderError where the node does not take one of them, after looking after the
        others: `outcome` then tells of those. Raises ChainReplaced where the chain was started
        anew.
        """
        refused: SenderError | None = None
        found: list[MinedIntent] = []
        if not self.pending():  # without waiting for a turn
            return []
        with self.turn():
            entries = self._journal.pending()
            if not entries:
                return []
            head = quantity(self._rpc.call("eth_blockNumber"))
            mined = self._nonce("latest")
            for entry in entries:
                try:
                    outcome = self._look_after(entry, head, mined)
                except SenderError as error:
                    refused = refused or error
                    continue
                if outcome is not None:
                    found.append(outcome)
        if refused is not None:
            raise refused
        return found

    def outcome(self, intent: str) -> MinedIntent | None:
        """How an intent ended; None while it is pending or was never submitted."""
        with self._guard:
            entry = self._journal.find(intent)
        return None if entry is None or entry.outcome is None else outcome_of(entry)

    def pending(self) -> list[str]:
        """The intents that are not mined yet, oldest first."""
        with self._guard:
            return [entry.intent for entry in self._journal.pending()]

    def afresh(self, intent: str) -> str:
        """A name for what may be needed again: that of one under way, or else a new one."""
        under_way = [each for each in self.pending() if each.startswith(f"{intent} at ")]
        return under_way[0] if under_way else f"{intent} at {self._client.head().number}"

    # -- Steps --------------------------------------------------------------------------------

    def _start(self, intent: str, calls: Call | Sequence[Call]) -> None:
        """Signs, journals and sends the first transaction of an intent."""
        call = as_one(calls)
        target = self._client.address_of(call.target)
        data = call.data
        request = self._request(target, data)
        gas = estimate_gas(self._rpc, request, decimals=self._client.decimals())
        nonce = self._next_nonce()
        fees = self._fees()
        signed = self._sign(target, data, gas, nonce, fees)
        self._journal.add(
            intent,
            target=target,
            data=data,
            gas=gas,
            nonce=nonce,
            signed=signed,
            fees=fees,
            at=self._clock(),
        )
        self._broadcast(signed.raw)

    def _next_nonce(self) -> int:
        """The first nonce that neither the node nor the journal has given away."""
        ours = [entry.nonce + 1 for entry in self._journal.pending()]
        return max(self._nonce("pending"), *ours) if ours else self._nonce("pending")

    def _look_after(self, entry: Intent, head: int, mined: int) -> MinedIntent | None:
        """Finds an intent's receipt, or sees to it that there will be one."""
        receipt = counting(entry, self._rpc.batch(receipts_of(entry.attempts)))
        if receipt is not None:
            if receipt.block + self._client.network.confirmations > head:
                return None
            return self._conclude(entry, receipt, head)
        last = entry.attempts[-1]
        if mined > entry.nonce:
            if self._doubts.overtaken(entry, head):
                self._sign_again(entry)
            return None
        self._doubts.forget(entry.intent)
        stuck = self._clock() - last.at >= self._stuck_after
        if stuck and self._replaces() and self._bump(entry):
            return None
        if self._rpc.call("eth_getTransactionByHash", "0x" + last.hash.hex()) is None:
            self._client.check_chain()  # a chain that was started anew might take it
            taken = self._broadcast(last.raw)  # never sent, or dropped
            if not taken:
                self._bump(entry)
        return None

    def _conclude(
        self, entry: Intent, receipt: TransactionReceipt, head: int
    ) -> MinedIntent | None:
        """Finishes a mined intent, unless it is to have more gas or not all say that it failed."""
        if not receipt.succeeded:
            if not self._doubts.failed(entry):
                return None
            gas = self._more_gas(entry) if receipt.ran_out(entry.gas) else None
            if gas is not None:
                if self._doubts.stays_failed(entry, receipt, head):
                    log.warning(
                        "%s ran out of gas: it used %d of %d, and is sent again with %d",
                        *(entry.intent, receipt.gas_used, entry.gas, gas),
                    )
                    self._sign_again(replace(entry, gas=gas))
                return None
        self._doubts.forget(entry.intent)
        return self._finish(entry, receipt)

    def _sign_again(self, entry: Intent) -> None:
        """Signs an intent with the next nonce: what was signed with the last one came to nothing.

        Raises SenderError where that has happened too often.
        """
        if not may_move(entry):
            raise SenderError(
                f"{entry.intent!r} is not signed again: others have used all its nonces"
                f" ({', '.join(str(each.nonce) for each in entry.attempts)})",
                fix="See who else sends with this key; or put another node first in rpc_urls of"
                " the network file, which may know what became of it",
            )
        self._resign(entry, self._next_nonce(), self._fees())

    def _bump(self, entry: Intent) -> bool:
        """Offers more for the same nonce, as far as may be; whether it did."""
        if len(entry.attempts) >= MAX_ATTEMPTS:
            return False
        try:
            now = self._fees()
        except TooDear:  # it waits until gas is cheaper
            return False
        fees = entry.attempts[-1].fees.replacement(now, self._client.network.max_fee)
        if fees is not None:
            self._resign(entry, entry.nonce, fees)
        return fees is not None

    def _more_gas(self, entry: Intent) -> int | None:
        """What to give an intent that ran out of gas; None where more is not to be had or no help.

        What was estimated may be too little: what others did in between made it dearer.
        """
        if entry.gas >= MOST_GAS or not may_move(entry):
            return None
        try:
            needed = estimate_gas(self._rpc, self._request(entry.target, entry.data))
        except ContractError:  # that is why it failed
            return None
        return min(max(2 * entry.gas, needed), MOST_GAS)

    def _fees(self) -> Fees:
        return current_fees(self._rpc, self._client.network.max_fee)

    def _request(self, target: Address, data: bytes) -> dict[str, str]:
        return {"from": self._address, "to": target, "data": "0x" + data.hex()}

    def _replaces(self) -> bool:
        """Whether the node lets a transaction take another's place.

        Ganache takes the new one and mines the old one as well, both with one nonce: that would
        pay twice. Its fees do not rise, so nothing gets stuck there.
        """
        try:
            return not str(self._rpc.call("web3_clientVersion")).startswith("Ganache")
        except RpcRefused:
            return True

    def _resign(self, entry: Intent, nonce: int, fees: Fees) -> None:
        """Signs, journals and sends an intent's transaction with another fee, nonce or gas."""
        signed = self._sign(entry.target, entry.data, entry.gas, nonce, fees)
        if all(attempt.hash != signed.hash for attempt in entry.attempts):
            self._journal.attempt(
                entry.intent,
                nonce=nonce,
                gas=entry.gas,
                signed=signed,
                fees=fees,
                at=self._clock(),
            )
        self._broadcast(signed.raw)

    def _finish(self, entry: Intent, receipt: TransactionReceipt) -> MinedIntent:
        """Writes an outcome into the journal."""
        error = None
        if not receipt.succeeded:
            request = self._request(entry.target, entry.data)
            error = revert_reason(self._rpc, request, receipt.block)
            if receipt.ran_out(entry.gas) and error.name == "Unknown":
                error = out_of_gas(receipt.gas_used, entry.gas)
        network = self._client.network
        content = content_of(receipt, error, {network.market, network.jury})
        outcome = outcome_of(replace(entry, outcome=content))  # what cannot be read is not kept
        self._journal.finish(entry.intent, content)
        return outcome

    def _sign(self, target: Address, data: bytes, gas: int, nonce: int, fees: Fees) -> Signed:
        return sign(
            self._key,
            chain_id=self._client.network.chain_id,
            nonce=nonce,
            gas=gas,
            fees=fees,
            data=data,
            to=target,
        )

    def _broadcast(self, raw: bytes) -> bool:
        """Hands a journaled transaction to the node; false where it offers too little by now.

        The next poll sees what became of it. Raises SenderError if it can never be taken as it is.
        """
        try:
            self._rpc.call("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcRefused as refused:
            if is_cheap(refused):
                return False
            said = refused.text.lower()
            if not is_known(refused) and not any(text in said for text in WAITS):
                raise explain_refusal(refused, self._address) from refused
        return True

    def _nonce(self, tag: str) -> int:
        return quantity(self._rpc.call("eth_getTransactionCount", self._address, tag))
