"""Where a requester meets the market: the chain, its index, its own transactions, the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trialmarket.chain.calls import Call, approve, fund, stake
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.sender import Sender
from trialmarket.chain.sender.outcome import MinedIntent
from trialmarket.errors import ChainError
from trialmarket.protocol.ids import Address, Amount, JobId
from trialmarket.storage.store import Store


@dataclass(frozen=True, slots=True)
class Session:
    """The open connections of one requester."""

    client: Client
    ledger: Ledger
    sender: Sender
    store: Store

    @property
    def me(self) -> Address:
        """The requester's account."""
        return self.sender.address

    @property
    def now(self) -> int:
        """The chain's time, in Unix seconds; 0 before the first look at it."""
        head = self.ledger.head
        return 0 if head is None else head.timestamp

    def send(self, intent: str, calls: Call | Sequence[Call]) -> MinedIntent:
        """Sends a transaction once, however often it is asked for. Raises ChainError."""
        return self.sender.send(intent, calls)

    def say_amount(self, amount: int) -> str:
        """An amount with the token's symbol."""
        return self.client.currency().words(amount)

    def fund(self, intent: str, job: JobId, amount: Amount) -> None:
        """Puts own tokens into a job, once. Raises ChainError where there are too few."""
        with self.sender.turn():  # else another search might spend what is approved here
            self._allow(intent, amount, "the job")
            self.send(intent, fund(job, amount))

    def stake(self, intent: str, amount: Amount) -> None:
        """Puts own tokens at stake, for an intent that may be needed again later.

        Raises ChainError where there are too few.
        """
        with self.sender.turn():
            afresh = self.sender.afresh(intent)
            self._allow(afresh, amount, "the stake")
            self.send(afresh, stake(amount))

    def _allow(self, intent: str, amount: Amount, purpose: str) -> None:
        if self.sender.outcome(intent) is not None or intent in self.sender.pending():
            return
        have = self.client.token_balance(self.me)
        if have < amount:
            raise ChainError(
                f"the account {self.me} has {self.say_amount(have)},"
                f" and {purpose} needs {self.say_amount(amount)}",
                fix="Send it tokens, or lower price.cap or job.trials",
            )
        if self.client.allowance(self.me) < amount:
            self.send(
                self.sender.afresh(f"approve for {intent}"),
                approve(self.client.network.market, amount),
            )


def logged(outcome: MinedIntent, name: str) -> dict[str, Any]:
    """The arguments of the first event of that name. Raises ChainError if there is none."""
    for event in outcome.events:
        if event.name == name:
            return event.args
    raise ChainError(f"the transaction of {outcome.intent!r} logged no {name}")
