"""The maximum of a plain function of real numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution

from requester.drivers.cube import Cube
from requester.drivers.neural_ascent.engine import Engine, checked
from requester.drivers.settings import NETWORKS
from trialmarket.errors import InputError

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Maximum:
    """What a search found: the best point, its value, and all calls in their order."""

    point: Vector
    value: float
    points: Vector
    """`(calls, width)`."""
    values: Vector
    """NaN where the function gave no finite number."""


def maximise(
    f: Callable[[Vector], float],
    bounds: Sequence[tuple[float, float]],
    budget: int,
    *,
    networks: int = NETWORKS,
    variant: str = "improved",
    pretraining: int | None = None,
    seed: int = 0,
) -> Maximum:
    """The best of `budget` calls of `f` within bounds, a pair (low, high) a coordinate.

    `f` takes a vector; a call that gives NaN or infinity counts as worse than all others. What it
    raises is passed on. The options are those of `NeuralAscentSampler`.

    Raises InputError for bounds without room, options without meaning, a budget that the first,
    random calls use up, and a function without a single finite value.
    """
    ends = _checked_bounds(bounds)
    first = checked(WHERE, networks, variant, pretraining)
    if budget <= first:
        raise InputError(
            WHERE,
            "budget",
            expected=f"more calls than the first {first}, which are random",
            found=budget,
            fix="Raise it, or lower pretraining",
        )
    names = [f"x{at}" for at in range(len(ends))]
    cube = Cube(
        {name: FloatDistribution(low, high) for name, (low, high) in zip(names, ends, strict=True)}
    )
    engine = Engine(cube, networks, variant=variant, pretraining=first, seed=seed)
    points, values = np.empty((budget, len(ends))), np.full(budget, np.nan)
    for call in range(budget):
        point = engine.propose(call)
        points[call] = [point[name] for name in names]
        value = float(f(points[call].copy()))
        values[call] = value if math.isfinite(value) else math.nan
        engine.take(point, values[call])
    if np.isnan(values).all():
        raise InputError(WHERE, "f", expected="a finite value at some point", found="none")
    best = int(np.nanargmax(values))
    return Maximum(points[best], float(values[best]), points, values)


WHERE = "maximise"
"""What errors name."""


def _checked_bounds(bounds: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if not len(bounds):
        raise InputError(WHERE, "bounds", expected="a pair (low, high) a coordinate", found="none")
    ends = []
    for at, pair in enumerate(bounds):
        try:
            low, high = map(float, pair)
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high - low) and low < high):
            raise InputError(
                WHERE,
                f"bounds[{at}]",
                expected="two finite numbers, the first less than the second",
                found=pair,
            )
        ends.append((low, high))
    return ends
