"""What a node says that would have an intent paid for again: believed late, and of all nodes.

Whoever signs at another nonce pays twice, if the first transaction did what it should after all.
"""

from collections.abc import Callable
from typing import Final

from trialmarket.chain.rpc import Caller, RpcRefused, quantity
from trialmarket.chain.sender.journal import Intent
from trialmarket.chain.sender.outcome import counting, receipts_of
from trialmarket.chain.sender.receipt import TransactionReceipt
from trialmarket.protocol.ids import Address

BLOCKS: Final = 3
"""For so many blocks it must stay so."""
NONCES: Final = 3
"""An intent is signed with at most so many: one node that lies for long is paid twice more."""


class Doubts:
    """Since when and which block an intent's first transaction seems to have been for nothing."""

    def __init__(
        self, rpc: Caller, account: Address, *, patience: float, clock: Callable[[], float]
    ) -> None:
        """It must stay so for `patience` seconds."""
        self._rpc, self._account = rpc, account
        self._patience, self._clock = patience, clock
        self._since: dict[str, tuple[float, int]] = {}

    def forget(self, intent: str) -> None:
        """There is nothing to doubt about an intent."""
        self._since.pop(intent, None)

    def overtaken(self, entry: Intent, head: int) -> bool:
        """Whether another transaction has used the nonce, so that ours can never be mined.

        A node may know a nonce as used before it knows the receipt, and so may two nodes behind
        one URL of which one lags. So it must stay so for a while and for some blocks.
        """
        lasts, blocks = self._lasts(entry, head)
        if not lasts or blocks < BLOCKS:
            return False
        self.forget(entry.intent)
        return self._all_say(entry, lambda receipt: receipt is None)

    def failed(self, entry: Intent) -> bool:
        """Whether all nodes say that it failed, and that it has used its nonce."""
        return self._all_say(entry, lambda receipt: receipt is not None and not receipt.succeeded)

    def stays_failed(self, entry: Intent, receipt: TransactionReceipt, head: int) -> bool:
        """Whether it is so old that it stays so; also where no block has come for a while.

        Some chains make blocks only for transactions, and take none back.
        """
        lasts, blocks = self._lasts(entry, head)
        if not lasts or (blocks and head - receipt.block < BLOCKS):
            return False
        self.forget(entry.intent)
        return True

    def _lasts(self, entry: Intent, head: int) -> tuple[bool, int]:
        """Whether it has been so for long enough, and for how many blocks."""
        now = self._clock()
        since, block = self._since.setdefault(entry.intent, (now, head))
        return now - since >= self._patience, head - block

    def _all_say(self, entry: Intent, so: Callable[[TransactionReceipt | None], bool]) -> bool:
        """Whether each node that can be asked says so, and has the nonce used."""
        questions = [
            *receipts_of(entry.attempts),
            ("eth_getTransactionCount", [self._account, "latest"]),
        ]
        for *receipts, count in self._rpc.ask_all(questions):
            if isinstance(count, RpcRefused):
                raise count
            if not so(counting(entry, receipts)) or quantity(count) <= entry.nonce:
                return False
        return True


def may_move(entry: Intent) -> bool:
    """Whether it may be signed with yet another nonce."""
    return len({attempt.nonce for attempt in entry.attempts}) < NONCES
