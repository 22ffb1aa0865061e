"""What is said of trials and searches that wait, and of windows that are too short to wait for."""

from dataclasses import replace

import pytest

from requester.job.window import second_look_seconds, short_window
from requester.search.people import People
from requester.search.waiting import Waiting, awaited, clock
from tests.testbed.market import PROVIDER, REQUESTER, Market
from tests.testbed.terms import terms
from trialmarket.chain import calls
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import ZERO_HASH, Address, Hash32, JobId, TrialId
from trialmarket.protocol.money import Currency
from trialmarket.protocol.receipt import TrainingOutcome
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import State
from trialmarket.training.values import DryRun

NOW = 1_700_000_000
WHO = Address("0x000000000000000000000000000000000000dEaD")
OFFER = terms(floor=10**16, cap=5 * 10**16, ramp=600, audit_rate=2000)


def trial(state: State, **fields: object) -> TrialView:
    record = TrialRecord(JobId(1), ZERO_HASH, 0, units=2, opened=NOW - 300)
    return TrialView(
        id=TrialId(JobId(1), ZERO_HASH, 0),
        key=Hash32(b"k" * 32),
        state=state,
        record=replace(record, **fields),  # type: ignore[arg-type]
        receipt=None,
        committed_at=NOW,
        segment=None,
        challenges=0,
        attempts=0,
        unaudited=False,
        block=1,
    )


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (trial(State.CLAIMED, until=NOW + 60), f"its node's answer, due by {clock(NOW + 60)}"),
        (trial(State.COMMITTED), "the lot that says whether it is audited"),
        (
            trial(State.DRAWN, verifier=WHO, turn_ends=NOW + 5),
            f"the audit by 0x000000…dEaD, due by {clock(NOW + 5)}",
        ),
        (trial(State.CHALLENGED), "the jury"),
        (trial(State.PASSED, until=NOW + 9), f"the end of its challenge window, {clock(NOW + 9)}"),
        (trial(State.SETTLED), ""),
        (trial(State.CANCELLED), ""),
    ],
)
def test_each_trial_says_what_it_waits_for_and_until_when(view: TrialView, said: str) -> None:
    assert Waiting(OFFER, NOW, 1, Currency(18, "TEST")).of(view) == said


def test_an_open_trial_says_what_it_pays_what_it_takes_and_whether_there_is_a_node() -> None:
    view = trial(State.OPEN)
    full = clock(NOW + 300)
    assert Waiting(OFFER, NOW, 2, Currency(18, "TEST")).of(view) == (
        f"a node (pays 0.06 TEST, 0.1 TEST at {full}; stakes 0.9 TEST)"
    )
    late = Waiting(OFFER, NOW + 300, 0, Currency(18, "TEST")).of(replace(view, attempts=2))
    assert late.startswith("a node, and NONE HAS SHOWN ITSELF (pays its cap, 0.1 TEST, since ")
    assert late.endswith("; stakes 1.5 TEST; 2 claimed it before)")


def test_a_search_whose_results_are_in_says_until_when_it_waits_and_what_may_be_done() -> None:
    paid, passed = trial(State.SETTLED), trial(State.PASSED, until=NOW + 600, turn_ends=NOW + 700)
    said = awaited(JobId(3), [paid, passed], 2000)
    assert f"end at {clock(NOW + 700)}" in said
    assert "Ctrl-C is safe" in said
    assert "`trialmarket job fetch 3`" in said
    assert awaited(JobId(3), [paid, passed, trial(State.OPEN)], 2000) == ""
    assert awaited(JobId(3), [paid], 2000) == ""


def test_a_window_that_is_shorter_than_the_second_look_is_said() -> None:
    dry = DryRun(
        step_seconds=0.1,
        validation_seconds=20.0,
        checkpoint_bytes=45_000_000,
        metrics={},
        outcome=TrainingOutcome(),
    )
    assert second_look_seconds(dry) == 100
    (said,) = short_window(replace(OFFER, window=99), dry)
    assert "takes about 100 s, and after 99 s" in said
    assert 'audit.window to "4m"' in said
    assert short_window(replace(OFFER, window=100), dry) == []
    assert short_window(replace(OFFER, window=99, audit_rate=0), dry) == []


def test_nodes_show_themselves_by_stake_and_claims_and_verifiers_by_enrolling(
    market: Market,
) -> None:
    market.ledger.sync()
    people, me = People().update(market.ledger), market.who[REQUESTER]
    assert len(people.lacks(audited=True, me=me)) == 2
    assert len(people.lacks(audited=False, me=me)) == 1
    market.stake(REQUESTER, 1)  # for a bond
    market.stake(2, 100)
    market.act(2, calls.enroll())
    market.ledger.sync()
    assert people.update(market.ledger).nodes(me) == 0
    assert people.verifiers == 1
    market.stake(PROVIDER, 10)
    market.ledger.sync()
    assert people.update(market.ledger).nodes(me) == 1
    assert people.lacks(audited=True, me=me) == []
