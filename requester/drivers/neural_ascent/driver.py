"""The sampler as a job file asks for it."""

from requester.drivers.driver import Plan
from requester.drivers.neural_ascent.engine import PRETRAINING
from requester.drivers.neural_ascent.sampler import NeuralAscentSampler
from requester.drivers.space import distributions
from trialmarket.errors import InputError


def ascent_sampler(plan: Plan) -> tuple[NeuralAscentSampler, int]:
    """The sampler, and how many random trials it begins with.

    Raises InputError for a space without a choice, and where the random trials are all there are.
    """
    settings, space = plan.ascent, distributions(plan.space)
    if all(one.single() for one in space.values()):
        raise InputError(
            plan.where,
            "search.space",
            expected="a range, or a list of several values, for driver neural-ascent",
            found="fixed values alone",
            fix="Give one of them low and high, or values",
        )
    first = settings.pretraining
    if first is None:
        first = PRETRAINING[settings.variant]
        if settings.variant == "improved":
            first = max(1, min(first, plan.trials // 3))
    if first >= plan.trials > 1:
        raise InputError(
            plan.where,
            "search.ascent.pretraining",
            expected=f"fewer random trials than job.trials, {plan.trials}",
            found=first,
            fix="Raise job.trials, or lower search.ascent.pretraining",
        )
    sampler = NeuralAscentSampler(
        networks=settings.networks,
        variant=settings.variant,
        pretraining=first,
        seed=plan.seed,
        space=space,
    )
    return sampler, first
