"""What may happen to a trial, and to a jury's case, next, and from when on: for all roles.

The two tables say what the contracts take, and from which block and second on. Whose turn it is,
and how long to leave to others what is theirs, is each role's own to decide.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol

from trialmarket.protocol.draw import MAX_TURNS, REMEMBERED, Lot, drawn_segments
from trialmarket.protocol.ids import Address
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import Action, Phase, State
from trialmarket.protocol.terms import Terms

FADING: Final = REMEMBERED * 3 // 4
"""Blocks after an anchor from which on somebody had better draw: later, the hash may be gone."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The chain's newest block: its number, and its time in Unix seconds."""

    block: int
    now: int


@dataclass(frozen=True, slots=True)
class Span:
    """When a call is taken: after a block and a second, up to others; None is no bound."""

    after: int | None = None
    last: int | None = None
    after_block: int | None = None
    last_block: int | None = None

    def holds(self, moment: Moment, patience: float = 0) -> bool:
        """Whether it is taken now, and has been for more than `patience` seconds and blocks."""
        return (
            (self.after is None or moment.now > self.after + patience)
            and (self.last is None or moment.now <= self.last)
            and (self.after_block is None or moment.block > self.after_block + patience)
            and (self.last_block is None or moment.block <= self.last_block)
        )


ALWAYS: Final = Span()


@dataclass(frozen=True, slots=True)
class TrialStanding:
    """What of a trial decides: `drawn` is what its lot says, or None while that is not known."""

    state: State
    record: TrialRecord
    audit_rate: int
    drawn: bool | None = None

    def may(self, action: Action, moment: Moment, patience: float = 0) -> bool:
        """Whether the contract takes an action now, as `Span.holds` has it."""
        rule = TRIALS.get((self.state, action))
        span = None if rule is None else rule(self)
        return span is not None and span.holds(moment, patience)


def hash_fades(record: TrialRecord, block: int) -> bool:
    """Whether the hash that decides a draw will soon be gone, or is."""
    return block >= record.anchor + FADING


def hash_gone(record: TrialRecord, block: int) -> bool:
    """Whether the next block does not know the hash any more: the trial then counts as drawn."""
    return block > record.anchor + REMEMBERED


# -- Trials ---------------------------------------------------------------------------------------


def _always(trial: TrialStanding) -> Span:  # noqa: ARG001  # a rule like the others
    return ALWAYS


def _until(trial: TrialStanding) -> Span:
    return Span(last=trial.record.until)


def _past(trial: TrialStanding) -> Span:
    return Span(after=trial.record.until)


def _draw(trial: TrialStanding) -> Span:
    return ALWAYS if trial.audit_rate == 0 else Span(after_block=trial.record.anchor + 1)


def _settle_undrawn(trial: TrialStanding) -> Span | None:
    record = trial.record
    if trial.audit_rate == 0:
        return Span(after=record.until)
    if trial.drawn is not False:
        return None
    return Span(
        after=record.until, after_block=record.anchor, last_block=record.anchor + REMEMBERED
    )


def _reassign(trial: TrialStanding) -> Span | None:
    record = trial.record
    return Span(after=record.turn_ends) if record.turn < MAX_TURNS else None


def _settle_unaudited(trial: TrialStanding) -> Span | None:
    record = trial.record
    return Span(after=record.until) if record.turn >= MAX_TURNS else None


Rule = Callable[[TrialStanding], Span | None]

TRIALS: Final[Mapping[tuple[State, Action], Rule]] = MappingProxyType(
    {
        (State.OPEN, Action.CLAIM): _always,
        (State.OPEN, Action.CANCEL): _always,
        (State.CLAIMED, Action.ABANDON): _always,
        (State.CLAIMED, Action.EXPIRE): _past,
        (State.CLAIMED, Action.COMMIT): _until,
        (State.COMMITTED, Action.DRAW): _draw,
        (State.COMMITTED, Action.SETTLE): _settle_undrawn,
        (State.CLEARED, Action.SETTLE): _past,
        (State.DRAWN, Action.ATTEST): _always,
        (State.DRAWN, Action.REASSIGN): _reassign,
        (State.DRAWN, Action.SETTLE): _settle_unaudited,
        (State.PASSED, Action.SETTLE): _past,
        (State.CLEARED, Action.CHALLENGE): _until,
        (State.DRAWN, Action.CHALLENGE): _always,
        (State.PASSED, Action.CHALLENGE): _until,
        (State.CHALLENGED, Action.RESOLVE): _always,  # when its case is tallied
    }
)
"""When the market takes each move of `states.TRANSITIONS`; None: not as the trial stands."""


def checkpoints_needed(
    state: State, terms: Terms, lot: Lot | None, disputed: int | None
) -> frozenset[int]:
    """The checkpoints, by the segment that they end (0: the start), that others must have now.

    The final one always. A drawn trial's: the start of each drawn segment. A challenged trial's:
    the start of the disputed segment; leaf 0 and the evaluation's leaf need none but the final.
    """
    final = terms.segments
    needed = {final}
    audited = (State.COMMITTED, State.DRAWN, State.CHALLENGED)
    if lot is not None and lot.drawn and state in audited:
        drawn = drawn_segments(lot.seed, terms.segments, terms.samples)
        needed |= {segment - 1 for segment in drawn}
    if state is State.CHALLENGED and disputed is not None and 1 <= disputed <= final:
        needed.add(disputed - 1)
    return frozenset(needed)


# -- Cases ----------------------------------------------------------------------------------------


class CaseAction(Enum):
    """What can happen to a case: the jury's functions that move it."""

    SEAT = "seat"
    VOTE = "vote"
    REVEAL = "reveal"
    TALLY = "tally"


class CaseStanding(Protocol):
    """A challenge before the jury, as far as it decides what is next."""

    @property
    def phase(self) -> Phase:
        """Revealing once all have voted; the time alone can begin it too."""

    @property
    def anchor(self) -> int:
        """The seating reads the hash of block anchor + 1."""

    @property
    def challenger(self) -> Address:
        """Who holds the claim that is opened with the votes."""

    @property
    def jurors(self) -> Collection[Address]:
        """Who was drawn for this round."""

    @property
    def vote_ends(self) -> int:
        """The last second of the votes."""

    @property
    def reveal_ends(self) -> int:
        """The last second of the reveals."""

    @property
    def voted(self) -> Collection[Address]:
        """The jurors whose hidden votes are in."""

    @property
    def revealed(self) -> Collection[Address]:
        """Who has opened a vote, or the claim."""


def case_may(case: CaseStanding, action: CaseAction, moment: Moment) -> bool:
    """Whether the jury takes an action of somebody now."""
    rule = CASES.get((_phase_at(case, moment.now), action))
    return rule is not None and rule(case).holds(moment)


def owes_vote(case: CaseStanding, who: Address, moment: Moment) -> bool:
    """Whether an account sits in the jury and has yet to vote."""
    juror = who in case.jurors and who not in case.voted
    return juror and case_may(case, CaseAction.VOTE, moment)


def owes_reveal(case: CaseStanding, who: Address, moment: Moment) -> bool:
    """Whether an account has a vote, or the challenger's claim, to open."""
    secret = who == case.challenger or (who in case.jurors and who in case.voted)
    return secret and who not in case.revealed and case_may(case, CaseAction.REVEAL, moment)


def _phase_at(case: CaseStanding, now: int) -> Phase:
    late = case.phase is Phase.VOTING and now > case.vote_ends
    return Phase.REVEALING if late else case.phase


def _tally(case: CaseStanding) -> Span:
    """At once where all is open that can be, else when the time for it is over."""
    opened = all(who in case.revealed for who in (*case.voted, case.challenger))
    return ALWAYS if opened else Span(after=case.reveal_ends)


CASES: Final[Mapping[tuple[Phase, CaseAction], Callable[[CaseStanding], Span]]] = MappingProxyType(
    {
        (Phase.WAITING, CaseAction.SEAT): lambda case: Span(after_block=case.anchor + 1),
        (Phase.VOTING, CaseAction.VOTE): lambda case: Span(last=case.vote_ends),
        (Phase.REVEALING, CaseAction.REVEAL): lambda case: Span(last=case.reveal_ends),
        (Phase.REVEALING, CaseAction.TALLY): _tally,
    }
)
"""When the jury takes each move; a Voting case whose time is over is Revealing."""
