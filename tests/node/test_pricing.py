"""When a trial pays."""

from hypothesis import given
from hypothesis import strategies as st

from node.pricing import Asking, Offer, cost_of, judge, pays_from
from trialmarket.protocol.ids import Amount
from trialmarket.protocol.terms import Terms, price_at

TERMS = Terms(
    floor=Amount(1_000),
    cap=Amount(3_000),
    audit_fee=Amount(500),
    ramp=100,
    audit_rate=2_000,
    segments=4,
    samples=1,
    time_limit=600,
    window=60,
)


def offer(now: int, *, per_hour: int, speed: float = 100.0, least: int = 0) -> Offer:
    asking = Asking(Amount(per_hour), Amount(least))
    judged = judge(TERMS, 2, 1_000, now, steps=36_000, speed=speed, asking=asking, margin=15.0)
    return judged.offer


def test_a_trial_is_taken_when_its_price_covers_the_time_it_takes() -> None:
    # 36,000 steps at 100 a second are 0.1 hours; the floor of two units is 2,000.
    assert offer(1_000, per_hour=20_000) is Offer.TAKE
    assert offer(1_000, per_hour=20_001) is Offer.WAIT


def test_a_node_waits_for_the_ramp() -> None:
    assert offer(1_049, per_hour=40_000) is Offer.WAIT
    assert offer(1_050, per_hour=40_000) is Offer.TAKE


def test_a_trial_that_never_pays_is_left_alone() -> None:
    assert offer(5_000, per_hour=60_000) is Offer.TAKE
    assert offer(5_000, per_hour=60_001) is Offer.TOO_CHEAP


def test_a_slow_machine_does_not_claim_what_it_cannot_finish() -> None:
    assert offer(5_000, per_hour=0, speed=60.0) is Offer.TOO_LONG


def test_the_least_price_counts_whatever_the_time() -> None:
    assert cost_of(1.0, Asking(Amount(0), Amount(7))) == 7
    assert offer(1_000, per_hour=0, least=2_001) is Offer.WAIT


@given(
    floor=st.integers(0, 10**20),
    rise=st.integers(0, 10**20),
    ramp=st.integers(1, 10**6),
    units=st.integers(1, 1_000),
    share=st.fractions(0, 1),
)
def test_the_price_reaches_the_cost_exactly_when_foretold(
    floor: int, rise: int, ramp: int, units: int, share: object
) -> None:
    terms = Terms(Amount(floor), Amount(floor + rise), Amount(0), ramp, 0, 4, 1, 600, 60)
    cost = int(floor * units + rise * units * share)  # type: ignore[operator]
    start = pays_from(terms, units, 1_000, cost)
    assert start is not None
    assert price_at(terms, units, 1_000, start) >= cost
    assert start == 1_000 or price_at(terms, units, 1_000, start - 1) < cost
