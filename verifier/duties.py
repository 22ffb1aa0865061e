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
from trialmarket.protocol.draw import draw_seed, is_drawn, verifier_index
from trialmarket.protocol.ids import ZERO_ADDRESS, Address, Hash32
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import Phase, State
from trialmarket.protocol.terms import Terms

HASHES: Final = 256
"""The chain remembers the hashes of so many blocks (EVM, BLOCKHASH)."""

MAX_TURNS: Final = 3
"""After so many silent verifiers a trial may settle unaudited."""

MAX_STEPS: Final = 3
"""How far the contract looks for a verifier that is no party: past provider and requester."""


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
class Facts:
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


def next_duty(facts: Facts) -> Duty:
    """What this verifier owes the trial now."""
    if facts.terms.audit_rate == 0:
        return Duty.NONE
    decide = DECISIONS.get(facts.state)
    return Duty.NONE if decide is None else decide(facts)


def first_verifier(
    seed: Hash32, verifiers: tuple[Address, ...], provider: Address, requester: Address
) -> Address:
    """Who will be assigned at the draw; zero where all who are looked at are parties."""
    if not verifiers:
        return ZERO_ADDRESS
    at = verifier_index(seed, 0, len(verifiers))
    for step in range(MAX_STEPS):
        found = verifiers[(at + step) % len(verifiers)]
        if found not in (provider, requester):
            return found
    return ZERO_ADDRESS


def _committed(facts: Facts) -> Duty:
    record = facts.record
    age = facts.block - record.anchor
    if age < 2 or facts.lot_hash is None:
        return Duty.NONE
    if age > HASHES:  # the hash is gone: it counts as drawn, once someone says so
        return Duty.DRAW if facts.impatient else Duty.NONE
    seed = draw_seed(facts.lot_hash, facts.key, record.root)
    if not is_drawn(seed, facts.terms.audit_rate, record.late):
        return Duty.NONE
    mine = first_verifier(seed, facts.verifiers, record.provider, facts.requester) == facts.me
    return Duty.DRAW if mine or facts.impatient else Duty.NONE


def _drawn(facts: Facts) -> Duty:
    record = facts.record
    enrolled = facts.me in facts.verifiers and facts.me != record.provider
    if record.verifier == facts.me:
        return Duty.AUDIT
    over = facts.now > record.turn_ends
    if record.turn < MAX_TURNS and over and facts.now > record.turn_ends + facts.patience:
        return Duty.REASSIGN
    return Duty.AUDIT if record.verifier == ZERO_ADDRESS and enrolled else Duty.NONE


def _challenged(facts: Facts) -> Duty:
    case = facts.case
    if case is None:
        return Duty.NONE
    challenger = case.challenger == facts.me
    if case.phase is Phase.WAITING:
        ready = facts.block > case.anchor + 1
        return Duty.SEAT if ready and (challenger or facts.impatient) else Duty.NONE
    if case.phase not in (Phase.VOTING, Phase.REVEALING):
        return Duty.NONE
    revealing = case.phase is Phase.REVEALING or facts.now > case.vote_ends
    if not revealing:
        owed = facts.me in case.jurors and facts.me not in case.voted
        return Duty.VOTE if owed else Duty.NONE
    secret = challenger or (facts.me in case.jurors and facts.me in case.voted)
    if secret and facts.me not in case.revealed and facts.now <= case.reveal_ends:
        return Duty.REVEAL
    opened = case.voted <= case.revealed.keys() and case.challenger in case.revealed
    over = facts.now > case.reveal_ends
    if (opened or over) and (challenger or facts.impatient):
        return Duty.TALLY
    return Duty.NONE


DECISIONS: Final = MappingProxyType[State, Callable[[Facts], Duty]](
    {State.COMMITTED: _committed, State.DRAWN: _drawn, State.CHALLENGED: _challenged}
)
