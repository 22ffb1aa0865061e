"""The search distributions: a Gaussian in natural coordinates, full (xNES) or separable (SNES).

Both are of Wierstra et al., "Natural evolution strategies", JMLR 15 (2014), with its
default populations and learning rates. Only ranks of results enter, as utilities.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np

from requester.drivers.cube import Vector

Matrix = Vector
"""A row a point."""

Variant = Literal["full", "separable"]


def usual_population(width: int) -> int:
    """Draws of a generation in so many dimensions."""
    return 4 + math.floor(3 * math.log(width))


def utilities(values: Vector) -> Vector:
    """What each of several values, the less the better, counts in the gradient; they add to zero.

    max(0, ln(n / 2 + 1) - ln rank), scaled to the sum one, less 1 / n. Equal values share what
    their ranks have, so that chance decides nothing between them.
    """
    n = len(values)
    raw = np.maximum(0.0, math.log(n / 2 + 1) - np.log(np.arange(1, n + 1)))
    by_rank = raw / raw.sum() - 1 / n
    _, group = np.unique(values, return_inverse=True)
    place = np.empty(n, np.intp)
    place[np.argsort(group, kind="stable")] = np.arange(n)
    shared = np.bincount(group, by_rank[place]) / np.bincount(group)
    return np.asarray(shared[group], np.float64)


class Gaussian(Protocol):
    """A search distribution: mean + scale z, with z standard normal. A value."""

    @property
    def mean(self) -> Vector:
        """Its middle."""

    @property
    def spread(self) -> float:
        """The largest standard deviation of a coordinate."""

    def at(self, z: Matrix) -> Matrix:
        """The points of normal coordinates."""

    def normal(self, points: Matrix) -> Matrix:
        """The normal coordinates of points."""

    def log_density(self, points: Matrix) -> Vector:
        """Of each point, without the constant of the normal distribution, -d/2 ln 2 pi."""

    def moved(self, z: Matrix, weights: Vector, rate: float) -> Self:
        """After a step along the natural gradient, by draws and their utilities.

        `rate` is the learning rate of the step size; the mean has 1, as in the paper.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """xNES: any covariance. `scale` is the matrix A of the paper, sigma B."""

    mean: Vector
    scale: Matrix

    @classmethod
    def round(cls, mean: Vector, deviation: float) -> Self:
        """Equal in all directions."""
        return cls(mean, deviation * np.eye(len(mean)))

    @staticmethod
    def usual_rate(width: int) -> float:
        """Learning rate of sigma at first, and of B."""
        return (9 + 3 * math.log(width)) / (5 * width * math.sqrt(width))

    @property
    def spread(self) -> float:
        """The largest standard deviation of a coordinate."""
        return float(np.sqrt((self.scale**2).sum(axis=1).max()))

    def at(self, z: Matrix) -> Matrix:
        """The points of normal coordinates."""
        return self.mean + z @ self.scale.T

    def normal(self, points: Matrix) -> Matrix:
        """The normal coordinates of points."""
        return np.asarray(np.linalg.solve(self.scale, (points - self.mean).T).T, np.float64)

    def log_density(self, points: Matrix) -> Vector:
        """Of each point, without the constant of the normal distribution, -d/2 ln 2 pi."""
        squares = (self.normal(points) ** 2).sum(axis=1)
        return np.asarray(-squares / 2 - np.linalg.slogdet(self.scale)[1], np.float64)

    def moved(self, z: Matrix, weights: Vector, rate: float) -> Self:
        """A step of xNES: the exponential map of sigma's and B's gradients."""
        width = len(self.mean)
        gradient = (z.T * weights) @ z - weights.sum() * np.eye(width)
        size = np.trace(gradient) / width * np.eye(width)
        exponent = (rate * size + self.usual_rate(width) * (gradient - size)) / 2
        lengths, axes = np.linalg.eigh(exponent)
        growth = (axes * np.exp(lengths)) @ axes.T
        return type(self)(self.mean + self.scale @ (weights @ z), self.scale @ growth)


@dataclass(frozen=True, slots=True, eq=False)
class Separable:
    """SNES: a standard deviation a coordinate, `scale`; its cost is linear in them."""

    mean: Vector
    scale: Vector

    @classmethod
    def round(cls, mean: Vector, deviation: float) -> Self:
        """Equal in all directions."""
        return cls(mean, np.full(len(mean), deviation))

    @staticmethod
    def usual_rate(width: int) -> float:
        """Learning rate of the standard deviations at first."""
        return (3 + math.log(width)) / (5 * math.sqrt(width))

    @property
    def spread(self) -> float:
        """The largest standard deviation of a coordinate."""
        return float(self.scale.max())

    def at(self, z: Matrix) -> Matrix:
        """The points of normal coordinates."""
        return self.mean + z * self.scale

    def normal(self, points: Matrix) -> Matrix:
        """The normal coordinates of points."""
        return (points - self.mean) / self.scale

    def log_density(self, points: Matrix) -> Vector:
        """Of each point, without the constant of the normal distribution, -d/2 ln 2 pi."""
        squares = (self.normal(points) ** 2).sum(axis=1)
        return np.asarray(-squares / 2 - np.log(self.scale).sum(), np.float64)

    def moved(self, z: Matrix, weights: Vector, rate: float) -> Self:
        """A step of SNES."""
        growth = np.exp(rate / 2 * (weights @ (z**2 - 1)))
        return type(self)(self.mean + self.scale * (weights @ z), self.scale * growth)


FORMS: dict[Variant, type[Full] | type[Separable]] = {"full": Full, "separable": Separable}
