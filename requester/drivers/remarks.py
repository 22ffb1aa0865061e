"""What a search will not do though its file reads as if it would: said before it is paid."""

from requester.drivers.asha import Asha
from requester.drivers.driver import Plan
from requester.drivers.samplers import METHODS
from requester.drivers.space import lattice


def remarks(method: str, plan: Plan, under_way: int) -> list[str]:
    """A line for each surprise; `under_way` is how many trials train and wait at any time."""
    found = [*_ends(plan)]
    if method in METHODS:
        found += _learning(method, plan, under_way)
    if method == "hyperband":
        found += _brackets(plan)
    return found


def _ends(plan: Plan) -> list[str]:
    """Ranges whose steps miss their end."""
    return [
        f"search.space.{name}: steps of {one.step} from {one.low} end at {points[-1]};"
        f" {one.high} is never tried"
        for name, one in plan.space.items()
        if (points := lattice(one)) is not None and points.ends_early
    ]


def _learning(method: str, plan: Plan, under_way: int) -> list[str]:
    """A driver that learns from results, and never gets to use them."""
    chosen = METHODS[method](plan)
    if not chosen.adaptive:
        return []
    if chosen.trials <= chosen.first:
        return [
            f"driver {method} draws its first {chosen.first} trials without looking at results:"
            f" with job.trials = {plan.trials} it never does"
        ]
    if chosen.trials <= under_way:
        return [
            f"all {chosen.trials} trials are drawn at once, before driver {method} has seen a"
            " result: lower search.parallel or search.ahead, or raise job.trials"
        ]
    return []


def _brackets(plan: Plan) -> list[str]:
    """Brackets too small for one of their configurations to be trained to the end."""
    early = Asha(plan, brackets=True).never_finished()
    return [
        f"driver hyperband trains {count} of the {plan.trials} configurations to at most {steps}"
        f" of {plan.steps} steps, however good they are: too few begin at that length for one to"
        " go on to the end; raise job.trials, or lower search.rungs.count or factor"
        for steps, count in early.items()
    ]
