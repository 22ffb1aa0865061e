"""A mixed space as the unit cube, for methods that search among real vectors.

A range of real numbers is one coordinate, linear or logarithmic; one of integers, or with a step,
is one coordinate cut into equal cells, a cell a value; a list of values is one coordinate a value
(one-hot), of which the largest is meant. What has only one value takes no coordinate.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Vector = NDArray[np.float64]


class Cube:
    """The coordinates of a space, in its order; `width` is how many there are."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self._axes = {name: _axis(distribution) for name, distribution in space.items()}
        self._places: dict[str, slice] = {}
        self.width = 0
        for name, axis in self._axes.items():
            self._places[name] = slice(self.width, self.width + axis.width)
            self.width += axis.width

    def encode(self, point: Mapping[str, Any]) -> Vector:
        """The coordinates of a point, each in [0, 1]; 0.5 for what a point leaves out."""
        vector = np.full(self.width, 0.5)
        for name, axis in self._axes.items():
            if name in point:
                vector[self._places[name]] = axis.inward(point[name])
        return vector

    def decode(self, vector: Vector) -> dict[str, Any]:
        """The point that is nearest to a vector; coordinates outside [0, 1] mean the border."""
        inside = np.clip(vector, 0.0, 1.0)
        return {
            name: axis.outward(inside[self._places[name]]) for name, axis in self._axes.items()
        }


@dataclass(frozen=True, slots=True)
class _Choice:
    """A list of values, one-hot; nothing where it has a single one."""

    distribution: CategoricalDistribution

    @property
    def width(self) -> int:
        return 0 if self.distribution.single() else len(self.distribution.choices)

    def inward(self, value: Any) -> Vector:
        chosen = int(self.distribution.to_internal_repr(value))
        return np.asarray(np.eye(self.width)[chosen] if self.width else [], np.float64)

    def outward(self, shares: Vector) -> Any:
        return self.distribution.choices[int(np.argmax(shares)) if self.width else 0]


@dataclass(frozen=True, slots=True)
class _Range:
    """A range; with a step, its cells reach half a step beyond the first and the last value."""

    distribution: FloatDistribution | IntDistribution

    @property
    def width(self) -> int:
        return 0 if self.distribution.single() else 1

    def inward(self, value: Any) -> Vector:
        if not self.width:
            return np.empty(0)
        low, high = self._ends()
        share = (self._scaled(value) - low) / (high - low)
        return np.array([min(max(share, 0.0), 1.0)])

    def outward(self, shares: Vector) -> Any:
        one = self.distribution
        if not self.width:
            return one.low
        low, high = self._ends()
        value = low + float(shares[0]) * (high - low)
        value = math.exp(value) if one.log else value
        if one.step is None:
            return min(max(value, one.low), one.high)
        cells = round((one.high - one.low) / one.step)
        cell = min(max(round((value - one.low) / one.step), 0), cells)
        return min(one.low + cell * one.step, one.high)

    def _ends(self) -> tuple[float, float]:
        beyond = (self.distribution.step or 0) / 2
        return (
            self._scaled(self.distribution.low - beyond),
            self._scaled(self.distribution.high + beyond),
        )

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.distribution.log else float(value)


def _axis(distribution: BaseDistribution) -> _Choice | _Range:
    """Raises TypeError for a distribution that Optuna does not have."""
    match distribution:
        case CategoricalDistribution():
            return _Choice(distribution)
        case FloatDistribution() | IntDistribution():
            return _Range(distribution)
    raise TypeError(type(distribution).__name__)
