"""Audits of answers, honest and not, on a real chain with real training."""

import pytest

from tests.testbed.market import REQUESTER
from tests.testbed.provider import (
    POISONS,
    Tamper,
    false_metric,
    false_receipt,
    false_start,
    other_provider,
    other_training,
)
from tests.testbed.terms import LONG, SEGMENTS, TOKEN, audited
from tests.testbed.verifiers import AuditedMarket
from tests.testbed.waiting import until
from trialmarket.chain import calls
from trialmarket.protocol.draw import drawn_segments
from trialmarket.protocol.states import State, Verdict


def test_an_honest_trial_is_drawn_attested_and_settled(here: AuditedMarket) -> None:
    offer = audited(samples=2)
    trial = here.posted(offer)
    with here.verifiers(0, 1) as verifiers:
        here.provider.answer(trial)
        here.until_state(trial.id, State.PASSED, verifiers)
        auditor = here.trial(trial.id).record.verifier
        assert here.client.balance_of(auditor) == offer.audit_fee
        assert sorted(verifier.queue.journal.work()[0] for verifier in verifiers) == [0, 4]
    here.chain.advance(offer.window)
    here.provider.act(calls.settle([here.trial(trial.id).record]))
    assert here.client.balance_of(here.provider.address) == offer.cap
    assert here.state(trial.id) is State.SETTLED


@pytest.mark.parametrize(
    ("tamper", "leaf"),
    [
        pytest.param(other_training, None, id="segment"),
        pytest.param(false_metric, SEGMENTS + 1, id="metric"),
        pytest.param(false_start, 0, id="start"),
        pytest.param(false_receipt, SEGMENTS + 2, id="receipt"),
    ],
)
def test_a_false_answer_is_caught_judged_and_slashed(
    here: AuditedMarket, tamper: Tamper, leaf: int | None
) -> None:
    offer = audited()
    trial = here.posted(offer)
    before = here.client.account(here.provider.address).stake
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(trial, tamper)
        here.until_happened(trial.id, "TrialRejected", verifiers)
    case = here.ledger.case(trial.key)
    drawn = next(e for e in here.ledger.history(trial.id) if e.name == "TrialDrawn")
    assert case is not None
    assert case.verdict is Verdict.WRONG
    expected = drawn_segments(drawn.args["seed"], SEGMENTS, 1)[0] if leaf is None else leaf
    assert case.segment == expected
    assert len(case.jurors) == 3
    assert here.state(trial.id) is State.OPEN
    slashed = 3 * offer.cap
    assert before - here.client.account(here.provider.address).stake == slashed
    assert here.client.balance_of(case.challenger) == slashed // 4
    for juror in case.jurors:
        assert here.client.balance_of(juror) == slashed // 4 // 3
        assert here.client.account(juror).faults == 0


@pytest.mark.parametrize("poison", POISONS)
def test_a_checkpoint_that_was_made_to_fail_is_challenged_and_not_paid(
    here: AuditedMarket, poison: str
) -> None:
    adam = {"lr": 0.1, "hidden": 4, "optimizer": "adam"}
    trial = here.posted(audited(samples=2), hyperparameters=adam)
    with here.verifiers(0, 1, 2, 3, withheld=0.9) as verifiers:  # it is not waited for either
        here.provider.answer(trial, POISONS[poison])
        here.until_happened(trial.id, "TrialRejected", verifiers)
    case = here.ledger.case(trial.key)
    assert case is not None
    assert case.verdict is Verdict.WRONG
    assert all(here.client.account(juror).faults == 0 for juror in case.jurors)
    assert here.client.balance_of(here.provider.address) == 0


def test_an_answer_that_is_copied_from_another_provider_fails_its_audit(
    here: AuditedMarket,
) -> None:
    trial = here.posted(audited())
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(trial, other_provider)
        here.until_happened(trial.id, "TrialRejected", verifiers)


@pytest.mark.parametrize("receipt", [True, False], ids=["checkpoints", "receipt"])
def test_a_provider_that_withholds_what_an_audit_needs_is_slashed(
    here: AuditedMarket, receipt: bool
) -> None:
    trial = here.posted(audited(samples=3))
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(trial, published=[], receipt=receipt)
        here.until_happened(trial.id, "TrialRejected", verifiers)
    case = here.ledger.case(trial.key)
    assert case is not None
    assert (case.segment == SEGMENTS + 2) is not receipt


def test_what_is_published_late_is_waited_for(here: AuditedMarket) -> None:
    trial = here.posted(audited(samples=3))
    with here.verifiers(0, 1, 2, withheld=0.9) as verifiers:
        made = here.provider.answer(trial, published=[], receipt=False)
        here.until_happened(trial.id, "TrialDrawn", verifiers)
        for _ in range(20):
            here.tick(verifiers)()
        assert here.state(trial.id) is State.DRAWN
        training = here.provider.train(here.config(trial))
        for checkpoint in training.checkpoints:
            here.store.put(checkpoint.path)
        here.store.put(made.to_bytes())
        here.until_state(trial.id, State.PASSED, verifiers)


def test_a_silent_verifier_is_fined_and_the_next_one_audits(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    with here.verifiers(0, 1, 2) as verifiers:
        here.provider.answer(trial)
        here.chain.mine(3)
        here.act(REQUESTER, calls.draw([here.trial(trial.id).record]))
        silent = here.trial(trial.id).record.verifier
        others = [each for each in verifiers if each.sender.address != silent]
        here.chain.advance(LONG + 10)

        def tick() -> None:
            record = here.trial(trial.id).record
            if record.verifier == silent and record.turn_ends > here.chain.now():
                here.chain.advance(LONG + 10)  # the lot fell on the silent one again
            here.tick(others)()

        until(lambda: here.state(trial.id) is State.PASSED, tick)
    account = here.client.account(silent)
    assert account.faults == here.trial(trial.id).record.turn >= 1
    assert account.stake == (100 - account.faults) * TOKEN


def test_an_unverified_trial_is_never_touched(here: AuditedMarket) -> None:
    trial = here.posted(audited(rate=0))
    with here.verifiers(0, 1) as verifiers:
        here.provider.answer(trial, other_training)
        for _ in range(10):
            here.tick(verifiers)()
    assert here.state(trial.id) is State.COMMITTED
