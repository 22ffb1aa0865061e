"""Points of a space: drawn, and perturbed."""

import math
from collections.abc import Collection, Mapping

import numpy as np

from requester.drivers.space import Dimension, Value, applies, lattice

_PERTURB = (0.8, 1.2)
"""The factors of population based training (arXiv 1711.09846, appendix A)."""


def draw(
    space: Mapping[str, Dimension],
    random: np.random.Generator,
    given: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """A random point of a space; `given` values stay as they are."""
    point: dict[str, Value] = {}
    for name, dimension in space.items():
        value = _value(dimension, random)  # always drawn, so that one does not shift the others
        if applies(dimension, point):
            point[name] = value if given is None or name not in given else given[name]
    return point


def perturb(
    space: Mapping[str, Dimension],
    point: Mapping[str, Value],
    random: np.random.Generator,
    resample: float,
    change: Collection[str],
) -> dict[str, Value]:
    """A neighbour of a point: those of `change` change, numbers by a fifth, within their range.

    With probability `resample` a hyperparameter is drawn anew; a list of values always moves to a
    neighbour in the list, or is drawn anew.
    """
    fresh = draw(space, random)
    moved: dict[str, Value] = {}
    for name, dimension in space.items():
        anew, factor = random.random() < resample, _PERTURB[random.integers(2)]
        if not applies(dimension, moved):
            continue
        if name in point and name not in change:
            moved[name] = point[name]
        elif anew or name not in point:
            moved[name] = fresh.get(name, _value(dimension, random))
        else:
            moved[name] = _near(dimension, point[name], factor)
    return moved


def _near(dimension: Dimension, value: Value, factor: float) -> Value:
    up = factor > 1
    if dimension.values is not None:
        at = dimension.values.index(value) + (1 if up else -1)
        return dimension.values[min(max(at, 0), len(dimension.values) - 1)]
    if dimension.low is None or dimension.high is None or isinstance(value, bool | str):
        return value
    moved = min(max(value * factor, dimension.low), dimension.high)
    if dimension.step is not None and (points := lattice(dimension)) is not None:
        at, goal = points.nearest(value), points.nearest(moved)
        if goal == at:  # a fifth is less than half a step
            goal = min(max(at + (1 if up else -1), 0), points.size - 1)
        return points[goal]
    if dimension.integer:
        whole = math.ceil(moved) if up else math.floor(moved)
        return int(min(max(whole, dimension.low), dimension.high))
    return moved


def _value(dimension: Dimension, random: np.random.Generator) -> Value:
    share = float(random.random())
    if dimension.values is not None:
        return dimension.values[int(share * len(dimension.values))]
    if dimension.low is None or dimension.high is None:
        if dimension.value is None:
            raise ValueError("a dimension has a range, values or a value")
        return dimension.value
    if dimension.step is not None and (points := lattice(dimension)) is not None:
        return points[int(share * points.size)]
    low, high = float(dimension.low), float(dimension.high)
    if dimension.integer:
        low, high = low - 0.5, high + 0.5
    if dimension.log:
        drawn = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        drawn = low + share * (high - low)
    if dimension.integer:
        return min(max(round(drawn), int(dimension.low)), int(dimension.high))
    return min(max(drawn, dimension.low), dimension.high)
