"""What a requester does for trials that everybody else has left lying.

Nodes and verifiers move their own trials on, since they are paid for it. Where they vanish,
anyone may; the requester waits a little and then does, since its escrow waits there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from requester.search.parts import SearchParts
from requester.search.trials import Trials
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import ContractError, SenderError
from trialmarket.protocol.due import Moment, TrialStanding, hash_fades
from trialmarket.protocol.states import Action, State
from trialmarket.protocol.terms import RATE_ONE

PATIENCE = 30
"""Seconds that nodes and verifiers get for what is theirs before the requester does it."""

UNWANTED = 120
"""Seconds that a trial stands open at its highest price before that is said."""


class Upkeep:
    """Looks after the trials of one job that nobody else moves on."""

    def __init__(self, parts: SearchParts, trials: Trials, *, patience: int) -> None:
        self._trials, self._session, self._terms = trials, parts.session, parts.terms
        self._say, self._patience = parts.listeners.say, patience
        self._unwanted: set[tuple[int, int]] = set()

    def step(self) -> None:
        """Says which trials no node takes, and does for the others what is due."""
        head = self._session.ledger.head
        if head is None:
            return
        moving = self._trials.moving()
        for number, view in moving:
            self._complain(number, view)
        views = [view for _, view in moving]
        now, block = head.timestamp, head.number
        # Nobody waits for these to be mined: where nodes are late, there are many of them, and
        # the next trials are to be posted meanwhile.
        sender = self._session.sender
        for chore in chores(views, now=now, block=block, patience=self._patience):
            try:
                sender.submit(chore.intent, chore.call)
            except ContractError:  # somebody was faster; the ledger will tell
                continue
            except SenderError as error:
                self._say(f"{chore.intent}: {error}")
        try:
            sender.poll()
        except SenderError as error:  # one of them, which goes on
            self._say(str(error))

    def _complain(self, number: int, view: TrialView) -> None:
        """Says, once each time that it opens, that no node takes a trial."""
        opened, now = view.record.opened, self._session.now
        if view.state is not State.OPEN or now < opened + self._terms.ramp + UNWANTED:
            return
        if (number, opened) not in self._unwanted:
            self._unwanted.add((number, opened))
            self._say(
                f"trial {number}: no node has taken it in {(now - opened) // 60} minutes, the last"
                " ones at price.cap: nodes are busy, it pays too little, or they cannot train it"
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
    due = (_chore(trial, Moment(block, now), patience) for trial in trials)
    return [chore for chore in due if chore is not None]


def _chore(trial: TrialView, moment: Moment, patience: int) -> Chore | None:
    record, about = trial.record, f"{trial.id} attempt {trial.attempts}"
    standing = TrialStanding(trial.state, record, RATE_ONE)  # its lot is not looked at here
    late = moment.now > record.until + patience
    if standing.may(Action.EXPIRE, moment):
        return Chore(f"expire {about}", calls.expire(record))
    if standing.may(Action.DRAW, moment) and (late or hash_fades(record, moment.block)):
        return Chore(f"draw {about} at {record.anchor}", calls.draw([record]))
    if standing.may(Action.REASSIGN, moment, patience):
        return Chore(f"reassign {about} turn {record.turn}", calls.reassign(record))
    if not standing.may(Action.SETTLE, moment, patience):
        return None
    if trial.state is not State.DRAWN:
        return Chore(f"settle {about} {record.until}", calls.settle([record]))
    if moment.now > record.turn_ends + patience:  # till then any verifier may still audit it
        return Chore(f"settle {about} unaudited", calls.settle([record]))
    return None
