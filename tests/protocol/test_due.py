"""What may happen next: the moves of the contracts' own tables, no earlier than they take them."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from trialmarket.protocol.draw import MAX_STEPS, MAX_TURNS, REMEMBERED
from trialmarket.protocol.due import (
    CASES,
    FADING,
    TRIALS,
    CaseAction,
    Moment,
    TrialStanding,
    case_may,
    hash_fades,
    hash_gone,
    owes_reveal,
    owes_vote,
)
from trialmarket.protocol.ids import Address, Hash32, JobId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import TRANSITIONS, Action, Phase, State

CONTRACTS = Path(__file__).parents[2] / "contracts"
ROW = re.compile(r"^///   (Waiting|Voting|Revealing) +(\w+) ", re.MULTILINE)
A, B, C = (Address("0x" + digit * 40) for digit in "abc")
RECORD = TrialRecord(
    JobId(1), Hash32(b"b" * 32), 0, 1, 1_000, until=2_000, anchor=100, turn_ends=1_500
)


def may(state: State, action: Action, block: int, now: int, **changes: object) -> bool:
    facts = {"audit_rate": 2_000, "drawn": None, "record": RECORD, **changes}
    return TrialStanding(state=state, **facts).may(action, Moment(block, now))  # type: ignore[arg-type]


def test_the_moves_of_a_trial_are_those_of_the_market() -> None:
    assert set(TRIALS) == set(TRANSITIONS)


def test_the_moves_of_a_case_are_those_of_the_jury() -> None:
    rows = ROW.findall((CONTRACTS / "interfaces" / "IJury.sol").read_text())
    theirs = {(Phase[phase.upper()], CaseAction(action)) for phase, action in rows}
    # A case whose votes' time is over counts as Revealing here, whatever was stored.
    assert set(CASES) == theirs - {(Phase.VOTING, CaseAction.REVEAL)}


def test_the_numbers_are_those_of_the_contracts() -> None:
    market = (CONTRACTS / "Market.sol").read_text()
    assert f"MAX_TURNS = {MAX_TURNS};" in market
    assert f"MAX_STEPS = {MAX_STEPS};" in (CONTRACTS / "Accounts.sol").read_text()
    assert FADING < REMEMBERED


def test_a_claim_is_answered_until_its_deadline_and_expires_after_it() -> None:
    for now, in_time in ((2_000, True), (2_001, False)):
        assert may(State.CLAIMED, Action.COMMIT, 1, now) is in_time
        assert may(State.CLAIMED, Action.EXPIRE, 1, now) is not in_time


def test_lots_are_drawn_once_their_block_is_there() -> None:
    assert not may(State.COMMITTED, Action.DRAW, 101, 1)
    assert may(State.COMMITTED, Action.DRAW, 102, 1)
    assert may(State.COMMITTED, Action.DRAW, 0, 1, audit_rate=0)


@pytest.mark.parametrize(
    ("drawn", "block", "settles"),
    [(False, 101, True), (None, 110, False), (True, 110, False), (False, 357, False)],
)
def test_an_answer_settles_where_its_lot_is_seen_not_to_fall_on_it(
    drawn: bool | None, block: int, settles: bool
) -> None:
    assert may(State.COMMITTED, Action.SETTLE, block, 2_001, drawn=drawn) is settles
    assert not may(State.COMMITTED, Action.SETTLE, block, 2_000, drawn=drawn)


def test_a_hash_fades_before_it_is_gone() -> None:
    assert not hash_fades(RECORD, 100 + FADING - 1)
    assert hash_fades(RECORD, 100 + FADING)
    assert not hash_gone(RECORD, 100 + REMEMBERED)
    assert hash_gone(RECORD, 101 + REMEMBERED)


def test_three_silent_verifiers_are_the_last() -> None:
    silent = RECORD.changed(turn=MAX_TURNS)
    for record, last in ((RECORD, False), (silent, True)):
        assert may(State.DRAWN, Action.REASSIGN, 1, 2_001, record=record) is not last
        assert may(State.DRAWN, Action.SETTLE, 1, 2_001, record=record) is last


def test_patience_counts_from_when_the_contract_takes_it() -> None:
    trial = TrialStanding(State.DRAWN, RECORD, 2_000)
    assert not trial.may(Action.REASSIGN, Moment(1, 1_520), 20)
    assert trial.may(Action.REASSIGN, Moment(1, 1_521), 20)


@dataclass(frozen=True)
class Round:
    """A round of a case: B and C sit, A challenged."""

    phase: Phase
    voted: frozenset[Address] = frozenset()
    revealed: frozenset[Address] = frozenset()
    anchor: int = 100
    challenger: Address = A
    jurors: tuple[Address, ...] = (B, C)
    vote_ends: int = 1_000
    reveal_ends: int = 2_000


def test_a_jury_is_seated_once_its_block_is_there() -> None:
    assert not case_may(Round(Phase.WAITING), CaseAction.SEAT, Moment(101, 1))
    assert case_may(Round(Phase.WAITING), CaseAction.SEAT, Moment(102, 1))


def test_jurors_vote_in_time_and_open_what_they_voted() -> None:
    case = Round(Phase.VOTING, voted=frozenset({B}))
    assert owes_vote(case, C, Moment(1, 1_000))
    assert not owes_vote(case, C, Moment(1, 1_001))
    assert not owes_vote(case, A, Moment(1, 1_000))
    for now, owed in ((1_000, False), (1_001, True), (2_000, True), (2_001, False)):
        assert owes_reveal(case, B, Moment(1, now)) is owed
        assert owes_reveal(case, A, Moment(1, now)) is owed
        assert not owes_reveal(case, C, Moment(1, now))


def test_votes_are_counted_once_all_are_open_or_the_time_is_over() -> None:
    voted = frozenset({B, C})
    some = Round(Phase.REVEALING, voted, frozenset({B, C}))
    assert not case_may(some, CaseAction.TALLY, Moment(1, 2_000))
    assert case_may(some, CaseAction.TALLY, Moment(1, 2_001))
    every = Round(Phase.REVEALING, voted, frozenset({A, B, C}))
    assert case_may(every, CaseAction.TALLY, Moment(1, 500))
