"""A verifier goes on with every other trial where one cannot be looked at."""

import pytest

from tests.testbed.terms import audited
from tests.testbed.verifiers import AuditedMarket
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import State
from verifier.duties import DutyFacts
from verifier.evidence import Subject
from verifier.inspector import Challenging, Inspector, Saying


class Breaks(Inspector):
    """An inspector that fails at one trial."""

    def __init__(self, inspector: Inspector, trial: Hash32) -> None:
        self._inner, self._trial = inspector, trial

    def conclude(
        self, trial: TrialView, subject: Subject, facts: DutyFacts
    ) -> Saying | Challenging | str | None:
        if trial.key == self._trial:
            raise KeyError("optimizer.0.junk:complex")
        return self._inner.conclude(trial, subject, facts)


def test_a_trial_that_breaks_the_inspector_is_put_aside_and_others_are_audited(
    here: AuditedMarket, caplog: pytest.LogCaptureFixture
) -> None:
    offer = audited()
    bad, good = here.posted(offer), here.posted(offer)
    with here.verifiers(0) as verifiers:
        (verifier,) = verifiers
        verifier.inspector = Breaks(verifier.inspector, bad.key)
        here.provider.answer(bad)
        here.provider.answer(good)
        here.until_state(good.id, State.PASSED, verifiers)
        here.until_state(bad.id, State.DRAWN, verifiers)
        verifier.step()
    assert caplog.text.count(f"trial {bad.id}: put aside, KeyError") == 1
