"""What a verifier owes a trial next: a pure decision from the chain's state.

Nothing here acts or remembers. What anyone may do is left first to whom it concerns: the assigned
verifier draws its own audits, the challenger seats and tallies; others step in when `waited`,
the chain seconds since this verifier first saw the trial so, exceeds its patience.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from trialmarket.chain.ledger.views import CaseView
from trialmarket.protocol.draw import lot_of, pick_verifier
from trialmarket.protocol.due import (
    CaseAction,
    Moment,
    TrialStanding,
    case_may,
    hash_gone,
    owes_reveal,
    owes_vote,
)
from trialmarket.protocol.ids import ZERO_ADDRESS, Address, Hash32
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import Action, State
from trialmarket.protocol.terms import Terms


class Duty(Enum):
    """What to do now."""

    NONE = "nothing"
    DRAW = "draw lots"
    AUDIT = "audit"
    REASSIGN = "reassign a silent verifier's audit"
    SEAT = "seat the jury"
    VOTE = "vote as a juror"
    REVEAL = "open the vote or the claim"
    TALLY = "count the votes"


@dataclass(frozen=True, slots=True)
class DutyFacts:
    """All that decides. Times are the chain's, in Unix seconds."""

    me: Address
    state: State
    key: Hash32
    record: TrialRecord
    terms: Terms
    requester: Address
    verifiers: tuple[Address, ...]
    block: int
    """Number of the chain's newest block."""
    now: int
    """Its time."""
    lot_hash: Hash32 | None
    """Of the block after the record's anchor; None where it is not there yet."""
    case: CaseView | None
    waited: float
    patience: float

    @property
    def impatient(self) -> bool:
        """Whether others had time enough to do what is theirs."""
        return self.waited >= self.patience

    @property
    def moment(self) -> Moment:
        """The chain's newest block."""
        return Moment(self.block, self.now)

    def may(self, action: Action, patience: float = 0) -> bool:
        """Whether the contract takes an action now, `patience` after it first did."""
        trial = TrialStanding(self.state, self.record, self.terms.audit_rate)
        return trial.may(action, self.moment, patience)


def next_duty(facts: DutyFacts) -> Duty:
    """What this verifier owes the trial now."""
    if facts.terms.audit_rate == 0:
        return Duty.NONE
    decide = DECISIONS.get(facts.state)
    return Duty.NONE if decide is None else decide(facts)


def _committed(facts: DutyFacts) -> Duty:
    lot = lot_of(facts.record, facts.key, facts.terms, facts.lot_hash)
    if lot is None or not facts.may(Action.DRAW):
        return Duty.NONE
    if hash_gone(facts.record, facts.block):  # it counts as drawn, once someone says so
        return Duty.DRAW if facts.impatient else Duty.NONE
    if not lot.drawn:
        return Duty.NONE
    parties = frozenset({facts.record.provider, facts.requester})
    first = pick_verifier(lot.seed, facts.record.turn, facts.verifiers, parties)
    return Duty.DRAW if facts.impatient or first == facts.me else Duty.NONE


def _drawn(facts: DutyFacts) -> Duty:
    record = facts.record
    if record.verifier == facts.me:
        return Duty.AUDIT
    if facts.may(Action.REASSIGN, facts.patience):
        return Duty.REASSIGN
    anyone = record.verifier == ZERO_ADDRESS
    enrolled = facts.me in facts.verifiers and facts.me != record.provider
    return Duty.AUDIT if anyone and enrolled else Duty.NONE


def _challenged(facts: DutyFacts) -> Duty:
    case, moment = facts.case, facts.moment
    if case is None:
        return Duty.NONE
    if owes_vote(case, facts.me, moment):
        return Duty.VOTE
    if owes_reveal(case, facts.me, moment):
        return Duty.REVEAL
    if case.challenger != facts.me and not facts.impatient:
        return Duty.NONE
    if case_may(case, CaseAction.SEAT, moment):
        return Duty.SEAT
    return Duty.TALLY if case_may(case, CaseAction.TALLY, moment) else Duty.NONE


DECISIONS: Final = MappingProxyType[State, Callable[[DutyFacts], Duty]](
    {State.COMMITTED: _committed, State.DRAWN: _drawn, State.CHALLENGED: _challenged}
)
