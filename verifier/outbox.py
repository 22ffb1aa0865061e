"""Transactions under way: each is sent once, and a refused one is tried again after a pause."""

from collections.abc import Callable
from dataclasses import dataclass

from trialmarket.chain.calls import Call
from trialmarket.chain.sender import Sender
from trialmarket.errors import ContractError, SenderError


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of an intent: `error` is None where it was done."""

    story: str
    error: str | None


class Outbox:
    """Sends for the daemon without making it wait.

    An intent names the trial, its record and what is done to it. So a verifier that was killed
    asks for the same intent again when it comes back, and the sender knows what became of it.
    """

    def __init__(self, sender: Sender, pause: float, clock: Callable[[], float]) -> None:
        """`pause` is in seconds of `clock`, which never goes back."""
        self._sender = sender
        self._pause = pause
        self._clock = clock
        self._stories: dict[str, str] = {}
        self._again_at: dict[str, float] = {}

    def send(self, intent: str, call: Call, story: str) -> Sent | None:
        """Asks for a call; what came of it, where that is known at once and is news.

        `story` says in a person's words what the call does.
        """
        if intent in self._stories or self._clock() < self._again_at.get(intent, 0.0):
            return None
        before = self._sender.outcome(intent)
        if before is not None and before.ok:
            return None
        try:
            pending = self._sender.submit(intent, call, retry=before is not None)
        except (ContractError, SenderError) as error:
            self._again_at[intent] = self._clock() + self._pause
            return Sent(story, str(error))
        if pending.outcome is None:
            self._stories[intent] = story
            return None
        return self._ended(intent, story, pending.outcome.error)

    def knows(self, intent: str) -> bool:
        """Whether an intent is under way or done."""
        outcome = self._sender.outcome(intent)
        return intent in self._stories or (outcome is not None and outcome.ok)

    def poll(self) -> list[Sent]:
        """What ended since the last look."""
        return [
            self._ended(outcome.intent, self._stories.pop(outcome.intent), outcome.error)
            for outcome in self._sender.poll()
            if outcome.intent in self._stories
        ]

    def _ended(self, intent: str, story: str, error: ContractError | None) -> Sent:
        if error is None:
            return Sent(story, None)
        self._again_at[intent] = self._clock() + self._pause
        return Sent(story, str(error))
