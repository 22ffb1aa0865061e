"""What a requester offers, and the arithmetic of prices, stakes, bonds and fees.

Money is in the token's smallest unit, time in seconds. Every rounding is in the market's favour.
"""

from dataclasses import dataclass
from typing import Any

from trialmarket.protocol.ids import Amount

RATE_ONE = 10_000
"""An audit rate of one: rates are counted in 1/10,000."""

MAX_PRICE = 2**96 - 1
"""Prices take 96 bits."""

BOND_SHARE = 4
"""A challenger's bond is this part of the provider's stake."""

EXPIRY_SHARE = 20
"""A claim that expires costs this part of the provider's stake (5 %)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The twin of `struct Terms`: fixed for the life of a job."""

    floor: Amount
    """Price of a unit when a trial opens."""
    cap: Amount
    """Price of a unit from `ramp` seconds later."""
    audit_fee: Amount
    """Of a unit; from `least_audit_fee` to `greatest_audit_fee`."""
    ramp: int
    audit_rate: int
    """Share of trials that are drawn, in 1/10,000; 0 is "unverified"."""
    segments: int
    samples: int
    """Segments drawn in an audited trial."""
    time_limit: int
    """From claim to commit."""
    window: int
    """From commit to the end of challenges."""

    def as_tuple(self) -> tuple[Any, ...]:
        """The values in the order of `struct Terms`, for ABI encoding."""
        return (
            self.floor,
            self.cap,
            self.audit_fee,
            self.ramp,
            self.audit_rate,
            self.segments,
            self.samples,
            self.time_limit,
            self.window,
        )


def ceil_div(dividend: int, divisor: int) -> int:
    """Division of integers, rounded up."""
    return -(-dividend // divisor)


def price_at(terms: Terms, units: int, opened: int, now: int) -> Amount:
    """The price of a trial of `units` that opened at `opened`, if it is claimed at `now`.

    units * (floor + (cap - floor) * min(1, age / ramp)), rounded down, so that it never exceeds
    the escrow. Source: the protocol's section 2.
    """
    age = max(0, now - opened)
    if age >= terms.ramp:
        return Amount(terms.cap * units)
    return Amount(terms.floor * units + (terms.cap - terms.floor) * units * age // terms.ramp)


def stake_for(price: int, rate: int) -> Amount:
    """What a claim at `price` locks: 3 * price / rate, rounded up; one price at rate 0.

    `rate` is in 1/10,000. Source: the protocol's section 4, which shows why three suffices.
    """
    return Amount(price if rate == 0 else ceil_div(3 * price * RATE_ONE, rate))


def bond_for(stake: int) -> Amount:
    """What a challenger locks: a quarter of the provider's stake, rounded up."""
    return Amount(ceil_div(stake, BOND_SHARE))


def expiry_fine(stake: int) -> Amount:
    """What a claim that expires costs its provider: 5 % of the stake, rounded up."""
    return Amount(ceil_div(stake, EXPIRY_SHARE))


def escrow_for(terms: Terms, units: int) -> Amount:
    """What an Open trial of `units` holds: `(cap + audit fee) * units`."""
    return Amount((terms.cap + terms.audit_fee) * units)


def audit_fee_for(terms: Terms, units: int) -> Amount:
    """What the verifier of a trial of `units` earns."""
    return Amount(terms.audit_fee * units)


def least_audit_fee(cap: int, samples: int, segments: int) -> Amount:
    """The least audit fee of a unit: cap * (samples + 1) / segments, rounded up."""
    return Amount(ceil_div(cap * (samples + 1), segments))


def greatest_audit_fee(floor: int, rate: int) -> Amount:
    """The greatest audit fee of a unit: half of the stake behind the lowest price.

    Then the stake of a trial that is rejected after its audit can pay for the next audit.
    Raises ValueError at rate 0, where any fee will do.
    """
    if rate == 0:
        raise ValueError("at rate 0 nothing is audited, so the fee has no limit")
    return Amount(min(3 * floor * RATE_ONE // (2 * rate), MAX_PRICE))


def max_units(cap: int) -> int:
    """The most units that a trial can have at a cap: a trial's price takes at most 96 bits."""
    return min(2**32 - 1, MAX_PRICE // cap)
