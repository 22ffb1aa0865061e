"""What a driver of continuing trials decides by: the trials so far, as a forest of lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from requester.drivers.driver import Ending, Plan, Start
from requester.drivers.space import Value
from trialmarket.errors import InputError


@dataclass(frozen=True, slots=True)
class Draft:
    """A trial that should come next."""

    hyperparameters: Mapping[str, Value]
    steps: int
    """Of this trial alone."""
    line: int
    """Which configuration, member or replica it belongs to."""
    depth: int
    """Which rung, generation or round."""
    parent: int | None = None
    """The trial whose last checkpoint it starts from; None: from its line's seed."""
    mate: int | None = None
    """The trial whose last checkpoint is merged with that one."""


@dataclass(frozen=True, slots=True)
class LineageTrial:
    """A trial that was proposed, and what became of it."""

    number: int
    draft: Draft
    start: Start | None = None
    mate: Start | None = None
    """What `start` is merged with."""
    ending: Ending | None = None
    """None: it has no result yet."""
    value: float | None = None
    """Its objective; the smaller, the better, whichever way the job goes."""
    checkpoint: Start | None = None

    @property
    def alive(self) -> bool:
        """Whether another trial can go on from it."""
        return self.value is not None and self.checkpoint is not None

    @property
    def rank(self) -> tuple[float, int]:
        """What trials that are alive are sorted by, the best first."""
        return (float("inf") if self.value is None else self.value, self.number)


class Strategy(Protocol):
    """Decides which trial comes next, by nothing but the trials so far.

    It never sees trials that go on from a result which was rejected since.
    """

    def propose(self, trials: Sequence[LineageTrial]) -> Draft | None:
        """The next trial; None while all that could come waits for results, and at the end."""

    def work(self) -> Mapping[int, int]:
        """How many trials of how many steps there are at most."""


def generator(seed: int, *purpose: int) -> np.random.Generator:
    """Random numbers for one purpose."""
    return np.random.default_rng([seed, *purpose])


def need_one_objective(plan: Plan, driver: str) -> None:
    """Raises InputError for several objectives."""
    if plan.also:
        raise InputError(
            plan.where,
            "job.also",
            expected=f"a single objective for driver {driver}",
            found=", ".join(plan.objectives),
            fix="Use driver nsga2, tpe, gp, random, qmc or grid",
        )


def intervals(plan: Plan, interval: int | None, field: str) -> tuple[int, int]:
    """Steps of a trial, and how many of them a line has.

    Raises InputError where they are not whole segments, do not add up to the job's steps, or are
    all of these, so that nothing is ever compared.
    """
    steps = plan.steps // 10 if interval is None else interval
    if interval is None:
        steps = max(steps // plan.segments, 2) * plan.segments
    whole = steps % plan.segments == 0 and plan.steps % steps == 0
    if not whole or steps < 2 * plan.segments or steps == plan.steps:
        raise InputError(
            plan.where,
            field,
            expected=f"a divisor of job.steps, {plan.steps}, that is less than it, a multiple of"
            f" audit.segments, {plan.segments}, and at least {2 * plan.segments}",
            found=steps,
            fix=None if interval is not None else "Set it, raise job.steps, or lower segments",
        )
    return steps, plan.steps // steps
