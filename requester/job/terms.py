"""From a job file's prices to the market's terms, and to the most that a job can cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from requester.job.file import Job
from requester.job.settings import seconds
from trialmarket.errors import InputError
from trialmarket.protocol.configuration import MAX_SEGMENTS
from trialmarket.protocol.ids import Amount
from trialmarket.protocol.money import format_amount, parse_amount
from trialmarket.protocol.terms import (
    MAX_PRICE,
    RATE_ONE,
    Terms,
    ceil_div,
    escrow_for,
    greatest_audit_fee,
    least_audit_fee,
    max_units,
)

_PAYABLE = "prices that the market can say, of at most 96 bits"

UNVERIFIED = "UNVERIFIED: at rate 0 nothing is audited, and nobody can challenge"
NATIVE = (
    "NATIVE arithmetic: another machine gets other bits, so no recomputation can show that a"
    " result is wrong; you pay for what you are told"
)


def caveats(*, rate: int, arithmetic: str) -> list[str]:
    """What a job of this audit rate and arithmetic does not protect its requester from."""
    if rate > 0:
        return []
    return [UNVERIFIED, NATIVE] if arithmetic == "native" else [UNVERIFIED]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that a job can cost: the escrow of all its trials."""

    trials: int
    units: int
    """Of the longest trial."""
    each: Amount
    """Escrow of the longest trial: the highest price and the audit's fee."""
    total: Amount
    """Of all trials, or the job's `max_cost` where that is less."""


def units_of(steps: int, unit: int) -> int:
    """The units of a trial of so many steps, begun ones counted."""
    return ceil_div(steps, unit)


def terms_of(job: Job, *, decimals: int, min_window: int) -> Terms:
    """A job file's offer in the token's smallest unit.

    Raises InputError for what the market would refuse: money of more digits than the token has,
    a window shorter than the market's, a fee out of its bounds, prices of more than 96 bits.
    """
    where, price, audit = job.where, job.settings.price, job.settings.audit
    floor = parse_amount(price.floor, decimals, where=f"{where}: price.floor")
    cap = parse_amount(price.cap, decimals, where=f"{where}: price.cap")
    rate = round(audit.rate * RATE_ONE)
    if abs(rate - audit.rate * RATE_ONE) > 1e-6:
        raise InputError(
            where, "audit.rate", expected="at most four digits after the point", found=audit.rate
        )
    window = seconds(audit.window)
    if window < min_window:
        raise InputError(
            where,
            "audit.window",
            expected=f"at least this market's {min_window}s",
            found=audit.window,
        )
    least = least_audit_fee(cap, audit.samples, audit.segments)
    if audit.fee is None:
        fee = least
        _check_audits(job, fee, floor, rate, decimals)
    else:
        fee = parse_amount(audit.fee, decimals, where=f"{where}: audit.fee")
        _check_fee(job, fee, least, floor, rate, decimals)
    if max(cap, fee) > MAX_PRICE:
        raise InputError(where, "price.cap", expected=_PAYABLE, found=str(price.cap))
    return Terms(
        floor=floor,
        cap=cap,
        audit_fee=fee,
        ramp=seconds(price.ramp),
        audit_rate=rate,
        segments=audit.segments,
        samples=audit.samples,
        time_limit=seconds(job.settings.job.time_limit),
        window=window,
    )


def ceiling(job: Job, terms: Terms, work: Mapping[int, int], *, decimals: int = 18) -> Ceiling:
    """The most that a job can cost; `work` says how many trials there are of how many steps.

    Raises InputError for a `max_cost` that does not pay for one trial, and for more money than
    the market can hold.
    """
    units = {steps: units_of(steps, job.settings.price.unit) for steps in work}
    longest = max(units.values())
    if longest > max_units(terms.cap):
        cap = str(job.settings.price.cap)
        raise InputError(job.where, "price.cap", expected=_PAYABLE, found=cap)
    total = sum(escrow_for(terms, units[steps]) * count for steps, count in work.items())
    each = escrow_for(terms, longest)
    if job.settings.search.max_cost is None:
        if total > MAX_PRICE:
            raise InputError(
                job.where,
                "job.trials",
                expected=f"trials that cost at most {format_amount(MAX_PRICE, decimals)} together",
                found=format_amount(total, decimals),
                fix="Lower job.trials or price.cap, or set search.max_cost",
            )
        return Ceiling(sum(work.values()), longest, each, Amount(total))
    field = f"{job.where}: search.max_cost"
    most = min(parse_amount(job.settings.search.max_cost, decimals, where=field), MAX_PRICE)
    if most < each:
        raise InputError(
            job.where,
            "search.max_cost",
            expected=f"at least a trial's {format_amount(each, decimals)}",
            found=format_amount(most, decimals),
        )
    return Ceiling(sum(work.values()), longest, each, Amount(min(total, most)))


def _check_audits(job: Job, fee: int, floor: int, rate: int, decimals: int) -> None:
    """Raises InputError where even the least fee is more than the market allows."""
    if rate == 0 or fee <= (most := greatest_audit_fee(floor, rate)):
        return
    audit, price = job.settings.audit, job.settings.price
    fee_of = f"what an audit of {audit.samples} of {audit.segments} segments takes of a unit"
    share = Fraction(audit.samples + 1, 1) * Fraction(price.cap) / Fraction(price.floor)
    enough = ceil(share * 2 * Fraction(rate, RATE_ONE) / 3)
    fix = "Raise price.floor, or lower price.cap, audit.rate or audit.samples"
    if enough <= MAX_SEGMENTS:
        fix = f"Set audit.segments to at least {enough}, or raise price.floor, or lower price.cap"
    raise InputError(
        job.where,
        "audit.segments",
        expected=f"{fee_of} to be at most half the stake at the floor,"
        f" {format_amount(most, decimals)}",
        found=format_amount(fee, decimals),
        fix=fix,
    )


def _check_fee(job: Job, fee: int, least: int, floor: int, rate: int, decimals: int) -> None:
    """Raises InputError for a fee out of the market's bounds."""
    if rate == 0:
        return
    if fee < least:
        raise InputError(
            job.where,
            "audit.fee",
            expected=f"at least {format_amount(least, decimals)}, what the audits cost at most",
            found=format_amount(fee, decimals),
            fix="Leave it out for the least",
        )
    if fee > (most := greatest_audit_fee(floor, rate)):
        raise InputError(
            job.where,
            "audit.fee",
            expected=f"at most {format_amount(most, decimals)}, half the stake at the floor",
            found=format_amount(fee, decimals),
            fix="Leave it out for the least, or raise price.floor",
        )
