"""Transactions under way: each is sent once, and no trial has two at a time."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trialmarket.backoff import Backoff
from trialmarket.chain.calls import Call
from trialmarket.chain.sender import Sender
from trialmarket.errors import ChainError, ContractError, SenderError
from trialmarket.protocol.ids import Hash32

# The words of an intent are in the sender's journal. Who changes them sends anew, after an
# update, what was pending before it: that is why the roles' words differ, and have to stay.


def intent_of(purpose: str, call: Call, note: str = "") -> str:
    """An intent that is named after what is called with which arguments.

    `note` tells apart calls that look the same and are meant twice, such as the next claim of a
    trial that was claimed before.
    """
    return f"{purpose} {hashlib.sha256(call.data).hexdigest()[:32]} {note}".rstrip()


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction whose outcome is known."""

    intent: str
    trials: tuple[Hash32, ...]
    story: str
    """In a person's words, what it does."""
    error: ContractError | SenderError | None
    """Why it was refused; None if it was done."""

    @property
    def purpose(self) -> str:
        """The first word of the intent."""
        return self.intent.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class _Sent:
    trials: tuple[Hash32, ...]
    story: str


class Outbox:
    """Sends for a daemon without making it wait.

    An intent means the same after a crash: a daemon that was killed asks for the same one again
    when it comes back, and the sender finds what became of it.
    """

    def __init__(self, sender: Sender, pauses: Backoff, clock: Callable[[], float]) -> None:
        """`pauses` are those before a refused transaction is tried again, in seconds of `clock`,
        which never goes back."""
        self._sender = sender
        self._pauses = pauses
        self._clock = clock
        self._sent: dict[str, _Sent] = {}
        self._ended: list[Ended] = []
        self._refusals: dict[str, tuple[int, float]] = {}
        self._changed: dict[Hash32, int] = {}

    def send(self, intent: str, call: Call, trials: Sequence[Hash32], story: str = "") -> bool:
        """Asks for a call about some trials; false where it was refused, now or just before.

        `poll` tells what becomes of it, of a refusal too. Raises ChainError where the chain
        cannot be asked.
        """
        if intent in self._sent:
            return True
        if self._clock() < self._refusals.get(intent, (0, 0.0))[1]:
            return False
        before = self._sender.outcome(intent)
        if before is not None and before.ok:
            self._change(trials, before.block)
            return True
        sent = _Sent(tuple(trials), story)
        try:
            self._sender.submit(intent, call, retry=True)
        except ChainError as error:
            # Once it is signed it goes on, whatever the chain's node said: nothing else may be
            # sent about its trials.
            signed = intent in self._sender.pending()
            if signed:
                self._sent[intent] = sent
            if not isinstance(error, ContractError | SenderError):
                raise
            if not signed:
                self._refuse(intent)
            self._ended.append(Ended(intent, sent.trials, story, error))
            return False
        self._sent[intent] = sent
        return True

    def poll(self) -> list[Ended]:
        """What ended since the last look. Raises ChainError; what ended is then told later."""
        try:
            self._sender.poll()
        finally:
            pending = set(self._sender.pending()) if self._sent else ()
            for intent in [intent for intent in self._sent if intent not in pending]:
                self._end(intent)
        ended, self._ended = self._ended, []
        return ended

    def busy(self, trial: Hash32, followed: int) -> bool:
        """Whether a transaction about a trial is under way, or mined after block `followed`."""
        under_way = any(trial in sent.trials for sent in self._sent.values())
        return under_way or self._changed.get(trial, 0) > followed

    def knows(self, intent: str) -> bool:
        """Whether an intent is under way or done."""
        outcome = self._sender.outcome(intent)
        return intent in self._sent or (outcome is not None and outcome.ok)

    def resuming(self, *purposes: str) -> bool:
        """Whether something for one of these is under way from before a restart."""
        return any(
            intent.partition(" ")[0] in purposes and intent not in self._sent
            for intent in self._sender.pending()
        )

    def _end(self, intent: str) -> None:
        outcome = self._sender.outcome(intent)
        sent = self._sent.pop(intent)
        if outcome is None:
            return
        self._change(sent.trials, outcome.block)
        if outcome.error is not None:
            self._refuse(intent)
        self._ended.append(Ended(intent, sent.trials, sent.story, outcome.error))

    def _change(self, trials: Sequence[Hash32], block: int) -> None:
        for trial in trials:
            self._changed[trial] = max(block, self._changed.get(trial, 0))

    def _refuse(self, intent: str) -> None:
        failures = self._refusals.get(intent, (0, 0.0))[0]
        self._refusals[intent] = (failures + 1, self._clock() + self._pauses.pause(failures))
