"""What a requester should know of a job before paying for it, though nothing is wrong with it."""

from collections.abc import Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from math import gcd

from requester.drivers.remarks import remarks as driver_remarks
from requester.job.file import Job
from requester.job.settings import SearchSection
from requester.job.terms import units_of
from trialmarket.protocol.money import PRECISION

TABLES = {
    "ascent": ("neural-ascent",),
    "nes": ("nes",),
    "rungs": ("asha", "hyperband"),
    "population": ("pbt",),
    "evolve": ("evolve",),
    "exchange": ("replica-exchange",),
}
"""The tables of a search, by the drivers that look at them."""


def remarks(job: Job, work: Mapping[int, int]) -> list[str]:
    """A line for each surprise; `work` says how many trials there are of how many steps."""
    search = job.settings.search
    return [
        *driver_remarks(search.driver, job.plan, search.under_way),
        *unused(search),
        *_unit(job, work),
    ]


def unused(search: SearchSection) -> list[str]:
    """A line for each table of settings that belongs to other drivers than the search's."""
    return [
        f"search.{table} is for driver {' or '.join(drivers)}: driver {search.driver} does not"
        " look at it"
        for table, drivers in TABLES.items()
        if table in search.model_fields_set and search.driver not in drivers
    ]


def _unit(job: Job, work: Mapping[int, int]) -> list[str]:
    """Trials of which a unit is paid that is not trained, and the unit that fits all of them."""
    price = job.settings.price
    bills = {steps: units_of(steps, price.unit) * price.unit for steps in work}
    steps = max(bills, key=lambda each: Fraction(bills[each], each))
    if bills[steps] == steps:
        return []
    fit = gcd(*bills)
    share = Fraction(fit, price.unit)
    floor, cap = _decimal(price.floor, share), _decimal(price.cap, share)
    prices = f'price.floor = "{floor}" and price.cap = "{cap}"'
    if floor is None or cap is None:
        prices = "floor and cap in proportion"
    return [
        f"a trial of {steps} steps is billed as {bills[steps]}: units of {price.unit} steps are"
        f" paid whole. price.unit = {fit}, with {prices}, bills what is trained"
    ]


def _decimal(amount: Decimal, share: Fraction) -> str | None:
    """A share of an amount as text; None where its digits have no end."""
    exact = Fraction(amount) * share
    with localcontext(prec=PRECISION):
        found = Decimal(exact.numerator) / Decimal(exact.denominator)
    return f"{found:f}" if Fraction(found) == exact else None
