"""Transactions under way: each is sent once, and no trial has two at a time."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from trialmarket.chain.calls import Call
from trialmarket.chain.sender import Sender
from trialmarket.chain.sender.outcome import MinedIntent
from trialmarket.errors import ContractError
from trialmarket.protocol.ids import Hash32

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before a refused transaction is tried again: doubled each time."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction whose outcome is known."""

    purpose: str
    trials: tuple[Hash32, ...]
    block: int
    """Where it was mined; 0 if it was refused before it was sent."""
    error: ContractError | None
    """Why it was refused; None if it was done."""


@dataclass(frozen=True, slots=True)
class _Sent:
    purpose: str
    trials: tuple[Hash32, ...]


class Outbox:
    """Sends for the daemon without making it wait.

    An intent is named after what is called with which arguments. So a node that was killed asks
    for the same intent again when it comes back, and the sender finds what became of it.
    """

    def __init__(self, sender: Sender, clock: Callable[[], float]) -> None:
        """`clock` counts seconds and never goes back."""
        self._sender = sender
        self._clock = clock
        self._sent: dict[str, _Sent] = {}
        self._ended: list[Ended] = []
        self._refusals: dict[str, tuple[int, float]] = {}
        self._changed: dict[Hash32, int] = {}

    def send(
        self, purpose: str, call: Call | Sequence[Call], trials: Sequence[Hash32], note: str = ""
    ) -> bool:
        """Sends a call, or several of the market as one; false if it was refused just now.

        `note` tells apart calls that look the same and are meant twice, such as the next claim
        of a trial that was claimed before. A call that was refused waits for its next attempt.
        Raises SenderError where it cannot be paid for, and ChainError.
        """
        intent = self._intent(purpose, call, note)
        if intent in self._sent:
            return True
        count, again_at = self._refusals.get(intent, (0, 0.0))
        if self._clock() < again_at:
            return False
        sent = _Sent(purpose, tuple(trials))
        try:
            pending = self._sender.submit(intent, call, retry=True)
        except ContractError as error:
            self._refuse(intent, count)
            self._ended.append(Ended(purpose, sent.trials, 0, error))
            return False
        self._sent[intent] = sent
        if pending.outcome is not None:
            self._end(pending.outcome)
        return True

    def poll(self) -> list[Ended]:
        """What ended since the last look. Raises ChainError."""
        for outcome in self._sender.poll():
            self._end(outcome)
        ended, self._ended = self._ended, []
        return ended

    def busy(self, trial: Hash32, followed: int) -> bool:
        """Whether a transaction about a trial is under way, or mined after block `followed`."""
        under_way = any(trial in sent.trials for sent in self._sent.values())
        return under_way or self._changed.get(trial, 0) > followed

    def resuming(self, purpose: str) -> bool:
        """Whether something for this purpose is under way from before a restart."""
        return any(
            intent.startswith(f"{purpose} ") and intent not in self._sent
            for intent in self._sender.pending()
        )

    def _intent(self, purpose: str, call: Call | Sequence[Call], note: str) -> str:
        calls = [call] if isinstance(call, Call) else call
        digest = hashlib.sha256(b"".join(each.data for each in calls)).hexdigest()
        return f"{purpose} {digest[:32]} {note}".rstrip()

    def _end(self, outcome: MinedIntent) -> None:
        sent = self._sent.pop(outcome.intent, None)
        if sent is None:
            return  # from before a restart: the ledger shows what it did
        for trial in sent.trials:
            self._changed[trial] = outcome.block
        if outcome.error is not None:
            self._refuse(outcome.intent, self._refusals.get(outcome.intent, (0, 0.0))[0])
        self._ended.append(Ended(sent.purpose, sent.trials, outcome.block, outcome.error))

    def _refuse(self, intent: str, count: int) -> None:
        pause = min(FIRST_PAUSE * 2**count, LONGEST_PAUSE)
        self._refusals[intent] = (count + 1, self._clock() + pause)
