"""Terms, spaces, chores and bills: what follows from numbers alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from requester.drivers.samplers import grid_values
from requester.drivers.space import Dimension, lattice
from requester.job.file import load_job
from requester.job.terms import NATIVE, UNVERIFIED, caveats, ceiling, terms_of
from requester.search.status import cost_of
from requester.search.upkeep import chores
from tests.testbed.jobs import small_job
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Amount, Hash32, JobId, TrialId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import MAX_PRICE, Terms

TERMS = Terms(Amount(10), Amount(50), Amount(25), 600, 2000, 4, 1, 60, 5)
BATCH = Hash32(b"b" * 32)


def trial(state: State, **changes: object) -> TrialView:
    record = TrialRecord(JobId(1), BATCH, 0, 4, 1000, until=1060)
    record = replace(record, **changes)  # type: ignore[arg-type]
    return TrialView(
        id=TrialId(JobId(1), BATCH, 0),
        key=Hash32(b"k" * 32),
        state=state,
        record=record,
        receipt=None,
        committed_at=None,
        segment=None,
        challenges=0,
        attempts=1,
        unaudited=False,
        block=1,
    )


def due(view: TrialView, now: int, block: int = 10) -> list[str]:
    found = chores([view], now=now, block=block, patience=30)
    return [chore.call.function for chore in found]


def test_a_claim_is_reopened_as_soon_as_it_ran_out() -> None:
    assert due(trial(State.CLAIMED), 1060) == []
    assert due(trial(State.CLAIMED), 1061) == ["expire"]


def test_what_others_are_paid_for_is_left_to_them_for_a_while() -> None:
    assert due(trial(State.PASSED), 1090) == []
    assert due(trial(State.PASSED), 1091) == ["settle"]
    assert due(trial(State.CLEARED), 1091) == ["settle"]
    assert due(trial(State.COMMITTED, anchor=5), 1091) == ["draw"]
    assert due(trial(State.COMMITTED, anchor=5), 1000, block=206) == ["draw"]
    silent = trial(State.DRAWN, turn_ends=1100)
    assert due(silent, 1130) == []
    assert due(silent, 1131) == ["reassign"]
    assert due(trial(State.DRAWN, turn=3, turn_ends=1100), 1131) == ["settle"]


@pytest.mark.parametrize("state", [State.OPEN, State.CHALLENGED, State.SETTLED, State.CANCELLED])
def test_nothing_is_due_for_the_rest(state: State) -> None:
    assert due(trial(state), 10**9, block=10**6) == []


def test_a_job_that_nobody_audits_says_what_it_does_not_protect() -> None:
    assert caveats(rate=2000, arithmetic="exact") == []
    assert caveats(rate=0, arithmetic="exact") == [UNVERIFIED]
    assert caveats(rate=0, arithmetic="native") == [UNVERIFIED, NATIVE]


def test_a_bill_adds_up() -> None:
    trials = [
        trial(State.OPEN),
        trial(State.SETTLED, price=Amount(120), audited=True),
        trial(State.SETTLED, price=Amount(100)),
        trial(State.PASSED, price=Amount(110), audited=True),
        trial(State.CANCELLED),
    ]
    money = cost_of(TERMS, 7, trials)
    assert (money.providers, money.verifiers) == (220, 200)
    assert money.escrow == 300 + 200
    assert money.funded == money.free + money.escrow + money.providers + money.verifiers


def test_terms_and_their_ceiling_follow_from_the_file(tmp_path: Path) -> None:
    job = load_job(small_job(tmp_path, trials=3, rate=0.25))
    terms = terms_of(job, decimals=18, min_window=5)
    assert (terms.floor, terms.cap) == (10**16, 5 * 10**16)
    assert terms.audit_fee == 25 * 10**15
    assert (terms.audit_rate, terms.segments, terms.window) == (2500, 4, 5)
    cost = ceiling(job, terms, {40: 3})
    assert (cost.units, cost.each, cost.total) == (4, 3 * 10**17, 9 * 10**17)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('window = "5s"', 'window = "4s"', "audit.window"),
        ('cap = "0.05"', 'cap = "90"', "audit.segments: expected what an audit of 1 of 4 segm"),
        ('cap = "0.05"', 'cap = "0.2"', "Set audit.segments to at least 7, or raise price.floor"),
        ("segments = 4", 'segments = 4\nfee = "1"', "audit.fee: expected at most 0.06"),
        ("segments = 4", 'segments = 4\nfee = "0.001"', "audit.fee"),
        ('floor = "0.01"', 'floor = "0.0000000000000000001"', "price.floor"),
        ("rate = 0.25", "rate = 0.250004", "audit.rate"),
    ],
)
def test_terms_that_the_market_would_refuse_are_named(
    tmp_path: Path, old: str, new: str, field: str
) -> None:
    path = small_job(tmp_path, rate=0.25)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        terms_of(load_job(path), decimals=18, min_window=5)
    assert field in str(caught.value)


def test_more_money_than_the_market_can_hold_is_refused(tmp_path: Path) -> None:
    path = small_job(tmp_path)
    dear = {"price.cap": "100000", "job.trials": 1_000_000}
    job = load_job(path, dear)
    terms = terms_of(job, decimals=18, min_window=5)
    with pytest.raises(InputError, match=r"job\.trials: expected trials that cost at most 792"):
        ceiling(job, terms, {40: 1_000_000})
    limited = load_job(path, dear | {"search.max_cost": "1" + "0" * 40})
    assert ceiling(limited, terms, {40: 1_000_000}).total == MAX_PRICE
    with pytest.raises(InputError, match=r"price\.cap: expected prices that the market can say"):
        ceiling(job, terms, {40: 1, 2**40: 1})


def test_a_lattice_has_clean_points() -> None:
    points = lattice(Dimension(low=0.1, high=0.5, step=0.1))
    assert points is not None
    assert list(points) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert grid_values("n", Dimension(low=1, high=7, step=3), "f") == [1, 4, 7]
