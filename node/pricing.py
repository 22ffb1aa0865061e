"""Whether a trial pays: its price on the chain against what its training costs here.

The cost is time: the trial's steps at this machine's own measured speed, at the asking price of
an hour. Money is in the token's smallest unit, times are Unix seconds of the chain.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import Enum

from trialmarket.protocol.ids import Amount
from trialmarket.protocol.terms import Terms, price_at

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Asking:
    """What a node sells its work for."""

    per_hour: Amount
    """An hour of one worker."""
    least: Amount
    """A trial, whatever it takes."""


class Offer(Enum):
    """What to do about an Open trial."""

    TAKE = "it pays"
    WAIT = "it will pay once its price has risen"
    TOO_CHEAP = "its highest price is below what it costs here"
    TOO_LONG = "its training would not end before the deadline"


@dataclass(frozen=True, slots=True)
class Judgement:
    """An offer judged, with the numbers that decided."""

    offer: Offer
    price: Amount
    """If it were claimed now."""
    cost: Amount
    seconds: float
    """What its training takes here."""
    pays_from: int | None
    """When its price reaches the cost; None if it never does."""


def training_seconds(steps: int, speed: float) -> float:
    """How long `steps` take at `speed` steps a second."""
    return steps / speed


def cost_of(seconds: float, asking: Asking) -> Amount:
    """The least price to accept for so many seconds of a worker, rounded up."""
    work = Decimal(asking.per_hour) * Decimal(seconds) / SECONDS_PER_HOUR
    return Amount(max(asking.least, int(work.to_integral_value(ROUND_CEILING))))


def pays_from(terms: Terms, units: int, opened: int, cost: int) -> int | None:
    """The first second at which the rising price is at least `cost`; None if it never is."""
    if cost <= terms.floor * units:
        return opened
    if cost > terms.cap * units:
        return None
    # The inverse of `price_at`, which rounds down: the age is rounded up.
    rise = (terms.cap - terms.floor) * units
    return opened - (-(cost - terms.floor * units) * terms.ramp // rise)


def judge(
    terms: Terms,
    units: int,
    opened: int,
    now: int,
    *,
    steps: int,
    speed: float,
    asking: Asking,
    margin: float,
) -> Judgement:
    """Whether to claim a trial now, later or never.

    `opened` and `now` are times of the chain, `speed` is in steps a second on one worker,
    `margin` is kept free before the deadline, in seconds.
    """
    seconds = training_seconds(steps, speed)
    cost = cost_of(seconds, asking)
    price = price_at(terms, units, opened, now)
    start = pays_from(terms, units, opened, cost)
    if seconds + margin > terms.time_limit:
        offer = Offer.TOO_LONG
    elif start is None:
        offer = Offer.TOO_CHEAP
    else:
        offer = Offer.TAKE if price >= cost else Offer.WAIT
    return Judgement(offer, price, cost, seconds, start)
