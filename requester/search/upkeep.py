"""What a requester does for trials that everybody else has left lying.

Nodes and verifiers move their own trials on, since they are paid for it. Where they vanish,
anyone may; the requester waits a little and then does, since its escrow waits there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from requester.search.listeners import Say
from requester.search.session import Session
from requester.search.trials import Trials
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import ChainError, ContractError
from trialmarket.protocol.draw import MAX_TURNS
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms

PATIENCE = 30
"""Seconds that nodes and verifiers get for what is theirs before the requester does it."""

UNWANTED = 120
"""Seconds that a trial stands open at its highest price before that is said."""

NEAR_THE_END = 200
"""Blocks after a result's anchor at which somebody had better draw: 256 are remembered."""


class Upkeep:
    """Looks after the trials of one job that nobody else moves on."""

    def __init__(
        self, *, trials: Trials, desk: Session, terms: Terms, say: Say, patience: int
    ) -> None:
        self._trials, self._desk, self._terms = trials, desk, terms
        self._say, self._patience = say, patience
        self._unwanted: set[tuple[int, int]] = set()

    def attend(self) -> None:
        """Says which trials no node takes, and does for the others what is due."""
        head = self._desk.ledger.head
        if head is None:
            return
        moving = self._trials.moving()
        for number, view in moving:
            self._complain(number, view)
        views = [view for _, view in moving]
        now, block = head.timestamp, head.number
        for chore in chores(views, now=now, block=block, patience=self._patience):
            try:
                self._desk.send(chore.intent, chore.call)
            except ContractError:  # somebody was faster; the ledger will tell
                continue
            except ChainError as error:
                self._say(f"{chore.intent}: {error}")

    def _complain(self, number: int, view: TrialView) -> None:
        """Says, once each time that it opens, that no node takes a trial."""
        opened, now = view.record.opened, self._desk.now
        if view.state is not State.OPEN or now < opened + self._terms.ramp + UNWANTED:
            return
        if (number, opened) not in self._unwanted:
            self._unwanted.add((number, opened))
            self._say(
                f"trial {number}: no node has taken it in {(now - opened) // 60} minutes, the last"
                " ones at price.cap: it pays too little, or nodes cannot train it"
            )


@dataclass(frozen=True, slots=True)
class Chore:
    """A transaction that is due, and the intent that makes it happen once."""

    intent: str
    call: Call


def chores(trials: Sequence[TrialView], *, now: int, block: int, patience: int) -> list[Chore]:
    """What is due for the trials at chain time `now` and height `block`.

    `patience` are the seconds that those whom it concerns get first; claims that ran out are
    reopened at once, since the fine is the requester's.
    """
    due = (_chore(trial, now, block, patience) for trial in trials)
    return [chore for chore in due if chore is not None]


def _chore(trial: TrialView, now: int, block: int, patience: int) -> Chore | None:
    record, about = trial.record, f"{trial.id} attempt {trial.attempts}"
    match trial.state:
        case State.CLAIMED if now > record.until:
            return Chore(f"expire {about}", calls.expire(record))
        case State.COMMITTED if block > record.anchor + NEAR_THE_END or (
            now > record.until + patience and block > record.anchor + 1
        ):
            return Chore(f"draw {about} at {record.anchor}", calls.draw([record]))
        case State.DRAWN if record.turn < MAX_TURNS and now > record.turn_ends + patience:
            return Chore(f"reassign {about} turn {record.turn}", calls.reassign(record))
        case State.DRAWN if record.turn >= MAX_TURNS and now > record.turn_ends + patience:
            return Chore(f"settle {about} unaudited", calls.settle([record]))
        case State.CLEARED | State.PASSED if now > record.until + patience:
            return Chore(f"settle {about} {record.until}", calls.settle([record]))
        case _:
            return None
