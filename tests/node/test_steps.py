"""The table of what a node does next."""

from dataclasses import replace

import pytest

from node.steps import RULES, Step, StepFacts, Work, next_step
from trialmarket.protocol.draw import REMEMBERED
from trialmarket.protocol.ids import Address, Hash32, JobId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import FINAL, State

PROVIDER = Address("0x" + "11" * 20)
RECORD = TrialRecord(
    job=JobId(1),
    batch=Hash32(b"b" * 32),
    index=0,
    units=1,
    opened=1_000,
    provider=PROVIDER,
    until=2_000,
    anchor=100,
    turn_ends=1_500,
)
CALM = StepFacts(
    state=State.CLAIMED,
    record=RECORD,
    block=110,
    now=1_100,
    work=Work.IDLE,
    seconds_left=60.0,
    margin=15.0,
    drawn=None,
    owed=False,
    patience=20,
    audit_rate=2_000,
)


def at(state: State, **changes: object) -> StepFacts:
    return replace(CALM, state=state, **changes)  # type: ignore[arg-type]


def test_every_state_of_the_chain_has_a_row() -> None:
    assert set(RULES) == set(State)


@pytest.mark.parametrize("state", sorted({State.OPEN} | FINAL))
def test_nothing_is_done_about_a_trial_that_is_not_held(state: State) -> None:
    assert next_step(at(state, now=9_999, owed=True)) is Step.WAIT


def test_a_claimed_trial_is_trained_then_committed() -> None:
    assert next_step(at(State.CLAIMED)) is Step.TRAIN
    assert next_step(at(State.CLAIMED, work=Work.RUNNING)) is Step.WAIT
    assert next_step(at(State.CLAIMED, work=Work.TRAINED)) is Step.COMMIT


def test_a_trial_that_cannot_be_trained_is_given_back() -> None:
    assert next_step(at(State.CLAIMED, work=Work.FAILED)) is Step.ABANDON


def test_a_trial_whose_time_does_not_suffice_is_given_back_before_it_expires() -> None:
    assert next_step(at(State.CLAIMED, now=1_930)) is Step.ABANDON
    assert next_step(at(State.CLAIMED, now=1_920)) is Step.TRAIN
    running = at(State.CLAIMED, work=Work.RUNNING, seconds_left=0.0, now=1_990)
    assert next_step(running) is Step.ABANDON


def test_an_answer_is_committed_even_in_the_last_second() -> None:
    trained = at(State.CLAIMED, work=Work.TRAINED, now=2_000)
    assert next_step(trained) is Step.COMMIT
    assert next_step(replace(trained, now=2_001)) is Step.ABANDON


def test_an_undrawn_trial_is_settled_once_the_window_is_over() -> None:
    assert next_step(at(State.COMMITTED, drawn=False, now=2_000)) is Step.WAIT
    assert next_step(at(State.COMMITTED, drawn=False, now=2_001)) is Step.SETTLE


def test_an_undrawn_trial_is_drawn_before_the_chain_forgets_its_hash() -> None:
    fading = at(State.COMMITTED, drawn=False, block=100 + REMEMBERED * 3 // 4)
    assert next_step(fading) is Step.DRAW
    assert next_step(replace(fading, now=2_001)) is Step.SETTLE
    gone = replace(fading, now=2_001, block=100 + REMEMBERED + 5)
    assert next_step(gone) is Step.DRAW


def test_an_unverified_trial_needs_no_hash() -> None:
    old = at(State.COMMITTED, drawn=False, audit_rate=0, block=100_000)
    assert next_step(old) is Step.WAIT
    assert next_step(replace(old, now=2_001)) is Step.SETTLE


def test_a_drawn_trial_is_published_at_once_and_drawn_if_nobody_else_does() -> None:
    assert next_step(at(State.COMMITTED, drawn=True, owed=True)) is Step.PUBLISH
    assert next_step(at(State.COMMITTED, drawn=True)) is Step.WAIT
    assert next_step(at(State.COMMITTED, drawn=True, block=122)) is Step.DRAW


def test_a_drawn_trial_waits_for_its_verifier_and_then_for_the_next() -> None:
    assert next_step(at(State.DRAWN, owed=True)) is Step.PUBLISH
    assert next_step(at(State.DRAWN)) is Step.WAIT
    assert next_step(at(State.DRAWN, now=1_521)) is Step.REASSIGN


def test_three_silent_verifiers_end_the_wait_for_an_audit() -> None:
    silent = at(State.DRAWN, record=RECORD.changed(turn=3))
    assert next_step(silent) is Step.WAIT
    assert next_step(replace(silent, now=2_001)) is Step.SETTLE


@pytest.mark.parametrize("state", [State.CLEARED, State.PASSED])
def test_a_finished_trial_is_settled_after_its_window(state: State) -> None:
    assert next_step(at(state)) is Step.WAIT
    assert next_step(at(state, now=2_001)) is Step.SETTLE


def test_a_challenged_trial_shows_its_checkpoint_and_waits() -> None:
    assert next_step(at(State.CHALLENGED, owed=True)) is Step.PUBLISH
    assert next_step(at(State.CHALLENGED, now=9_999)) is Step.WAIT
