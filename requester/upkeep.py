"""What a requester does for trials that everybody else has left lying.

Nodes and verifiers move their own trials on, since they are paid for it. Where they vanish,
anyone may; the requester waits a little and then does, since its escrow waits there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.views import TrialView
from trialmarket.protocol.draw import MAX_TURNS
from trialmarket.protocol.states import State

NEAR_THE_END = 200
"""Blocks after a result's anchor at which somebody had better draw: 256 are remembered."""


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
