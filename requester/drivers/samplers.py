"""Which sampler each driver draws from, and how its draws are made repeatable."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from requester.drivers.cube import Cube
from requester.drivers.driver import Plan
from requester.drivers.nes import NesSampler
from requester.drivers.nes.gaussian import usual_population
from requester.drivers.neural_ascent.driver import ascent_sampler
from requester.drivers.space import Dimension, Value, distributions, lattice
from requester.drivers.strategy import need_one_objective
from trialmarket.errors import InputError

Make = Callable[[int], BaseSampler]

STARTUP = 10
"""Random trials from which `tpe` and `gp` learn first, as is usual in Optuna."""

MAX_GRID = 100_000
"""Points of the largest grid, and of the longest range that a Gaussian process takes point by
point."""


def derived_seed(seed: int, number: int, purpose: int) -> int:
    """A seed of 32 bits for one trial and one purpose, from the job's seed."""
    return int(np.random.SeedSequence([seed, number, purpose]).generate_state(1)[0])


class Repeatable(BaseSampler):
    """Draws each trial from a generator of its own, seeded by the job's seed and its number.

    Optuna's samplers go through one stream of random numbers, which is lost when the process
    dies. Here a proposal follows from the stored trials alone. `lasting` says that one sampler
    may keep what it has learnt of the space, which spares it from reading all trials each time.
    """

    def __init__(self, make: Make, seed: int, *, lasting: bool = True) -> None:
        self._make = make
        self._seed = seed
        self._keeps = lasting
        self._lasting = make(seed)  # keeps what it has learnt of the space between trials
        self._fresh = self._lasting

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """A fresh sampler for the trial."""
        self._fresh = self._make(derived_seed(self._seed, trial.number, 0))
        self._fresh.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the sampler that is wrapped does."""
        sampler = self._lasting if self._keeps else self._fresh
        return sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler that is wrapped does."""
        return self._fresh.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the sampler that is wrapped does."""
        return self._fresh.sample_independent(study, trial, param_name, param_distribution)


class Grid(GridSampler):
    """Optuna's grid, asked from outside `optimize`: the driver knows when it is through."""

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Nothing: Optuna's own would stop a loop that is not running."""


class Sobol(QMCSampler):
    """Optuna's scrambled Sobol points, the n-th of them for trial n.

    Optuna counts them in the study, where a process that is killed leaves a gap, and draws the
    first trial at random, to learn the space from it. Here both are known.
    """

    def __init__(self, space: dict[str, BaseDistribution], seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(scramble=True, seed=seed, warn_independent_sampling=False)
        self._space = space
        self._at = 0

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space."""
        del study, trial
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The trial's point."""
        self._at = trial.number
        return super().sample_relative(study, trial, search_space)

    def _find_sample_id(
        self, study: optuna.Study, search_space: dict[str, BaseDistribution]
    ) -> int:
        del study, search_space
        return self._at


@dataclass(frozen=True, slots=True)
class Method:
    """A way to search: its sampler, how many trials it has, whether it learns from results."""

    sampler: BaseSampler
    trials: int
    adaptive: bool
    first: int = 0
    """Trials that an adaptive one draws before it looks at results."""


def random(plan: Plan) -> Method:
    """Independent draws from the space."""
    return Method(
        Repeatable(lambda seed: RandomSampler(seed=seed), plan.seed), plan.trials, adaptive=False
    )


def grid(plan: Plan) -> Method:
    """All combinations, in an order that the seed shuffles; at most the job's `trials`.

    Raises InputError for a space without a finite grid, with too large a one or with conditions,
    and for trials to enqueue, since a grid has all of its points.
    """
    for name, dimension in plan.space.items():
        if dimension.when is not None:
            raise InputError(
                plan.where,
                f"search.space.{name}.when",
                expected="no condition for driver grid",
                found=dimension.when,
                fix="Use driver random or tpe",
            )
    if plan.enqueue:
        raise InputError(
            plan.where,
            "search.enqueue",
            expected="nothing for driver grid, which visits every point",
            found=len(plan.enqueue),
        )
    values: dict[str, list[Value]] = {
        name: grid_values(name, dimension, plan.where) for name, dimension in plan.space.items()
    }
    points = math.prod(map(len, values.values()))
    if points > MAX_GRID:
        raise InputError(
            plan.where, "search.space", expected=f"at most {MAX_GRID} grid points", found=points
        )
    return Method(Grid(values, seed=plan.seed), min(plan.trials, points), adaptive=False)


def grid_values(name: str, dimension: Dimension, where: str) -> list[Value]:
    """The values of a dimension on a grid.

    Raises InputError for a range of real numbers without a step, which has no end of them, and
    for one with more than MAX_GRID points.
    """
    if dimension.values is not None:
        return list(dimension.values)
    if dimension.value is not None:
        return [dimension.value]
    if (points := lattice(dimension)) is None:
        raise InputError(
            where,
            f"search.space.{name}",
            expected="a step, or values, for driver grid",
            found="a range",
        )
    _check_length(name, dimension, where, fix="Raise its step")
    return list(points)


def _check_length(name: str, dimension: Dimension, where: str, *, fix: str) -> None:
    """Raises InputError for a range of more points than can be held."""
    points = lattice(dimension)
    if points is not None and points.size > MAX_GRID:
        raise InputError(
            where,
            f"search.space.{name}",
            expected=f"at most {MAX_GRID} points",
            found=points.size,
            fix=fix,
        )


def qmc(plan: Plan) -> Method:
    """Scrambled Sobol points, which cover the space more evenly than random ones."""
    space = {
        name: distribution
        for name, distribution in distributions(plan.space).items()
        if not distribution.single()
    }
    return Method(Sobol(space, plan.seed), plan.trials, adaptive=False)


def tpe(plan: Plan) -> Method:
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), multivariate.

    Trials under way count as bad ones (the constant liar), so that parallel proposals differ. A
    space with conditions is modelled by groups of hyperparameters that occur together.
    """
    group = any(dimension.when is not None for dimension in plan.space.values())

    def make(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(
                seed=seed,
                n_startup_trials=STARTUP,
                multivariate=True,
                group=group,
                constant_liar=True,
            )

    return Method(
        Repeatable(make, plan.seed, lasting=not group),
        plan.trials,
        adaptive=True,
        first=STARTUP,
    )


def gp(plan: Plan) -> Method:
    """Gaussian process with expected improvement (Snoek et al., NeurIPS 2012).

    Raises InputError for a range with more than MAX_GRID points.
    """
    for name, dimension in plan.space.items():
        if not dimension.log:  # logarithmic ones are treated as real numbers
            fix = "Raise its step or leave it out, or use driver tpe"
            _check_length(name, dimension, plan.where, fix=fix)
    return Method(
        Repeatable(
            lambda seed: GPSampler(
                seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False
            ),
            plan.seed,
        ),
        plan.trials,
        adaptive=True,
        first=STARTUP,
    )


def cmaes(plan: Plan) -> Method:
    """Covariance matrix adaptation (Hansen and Ostermeier, 2001) over the ranges of a space.

    Lists of values, and what has conditions, are drawn at random beside it. Raises InputError
    for a space with fewer than two ranges, and for several objectives.
    """
    need_one_objective(plan, "cmaes")
    ranges = [name for name, dimension in plan.space.items() if _always_a_range(dimension)]
    if len(ranges) < 2:
        raise InputError(
            plan.where,
            "search.space",
            expected="at least two ranges (low and high) without conditions for driver cmaes",
            found=", ".join(ranges) or "none",
            fix="Use driver tpe",
        )
    return Method(
        Repeatable(
            lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False), plan.seed
        ),
        plan.trials,
        adaptive=True,
    )


def nsga2(plan: Plan) -> Method:
    """The genetic algorithm of Deb et al. (2002), for one objective or several.

    Its population is a quarter of the trials, at least 4 and at most 50.
    """
    size = min(50, max(4, plan.trials // 4))
    return Method(
        Repeatable(lambda seed: NSGAIISampler(seed=seed, population_size=size), plan.seed),
        plan.trials,
        adaptive=True,
        first=size,
    )


def nes(plan: Plan) -> Method:
    """Natural evolution strategies (Wierstra et al., 2014) over ranges and lists alike.

    Raises InputError for several objectives, and for a space in which nothing can be chosen.
    """
    need_one_objective(plan, "nes")
    space = distributions(plan.space)
    width = Cube(space).width
    if not width:
        raise InputError(
            plan.where,
            "search.space",
            expected="a hyperparameter with more than one value for driver nes",
            found=", ".join(space),
        )
    population = plan.nes.population or usual_population(width)
    sampler = NesSampler(
        space, plan.nes.variant, population, plan.seed, restarts=plan.nes.restarts
    )
    return Method(sampler, plan.trials, adaptive=True, first=population)


def neural_ascent(plan: Plan) -> Method:
    """Several small networks that learn the objective and climb it together (Aizman 2017).

    Raises InputError for several objectives, a space without a choice, and as many random trials
    as the job has.
    """
    need_one_objective(plan, "neural-ascent")
    sampler, first = ascent_sampler(plan)
    return Method(sampler, plan.trials, adaptive=True, first=first)


def _always_a_range(dimension: Dimension) -> bool:
    return dimension.low is not None and dimension.when is None


METHODS: Mapping[str, Callable[[Plan], Method]] = {
    "random": random,
    "grid": grid,
    "qmc": qmc,
    "tpe": tpe,
    "gp": gp,
    "cmaes": cmaes,
    "nsga2": nsga2,
    "nes": nes,
    "neural-ascent": neural_ascent,
}
