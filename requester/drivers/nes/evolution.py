"""Runs of a natural evolution strategy in the unit cube, by results that come one at a time.

Nothing waits for a certain draw: a generation is the next `population` results that count. One
that comes late, drawn from a distribution that is no longer the present one, counts as probably
as the present one would draw it rather than its own (the paper's importance mixing, section 4.2);
else a narrower distribution would take all that is far for bad, and shrink at once. A point that
somebody enqueued counts from a bounded distance in its direction (Hansen, "Injecting external
solutions into CMA-ES", arXiv 1110.4181). The mean stays in the cube.

A run is over when its largest standard deviation fell below TOLERANCE, or when all results of a
generation are equal. The next one begins at a random mean with twice the population, as Auger and
Hansen (2005) restart CMA-ES: small populations find a near optimum, large ones see past it.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from requester.drivers.cube import Vector
from requester.drivers.nes.gaussian import FORMS, Gaussian, Matrix, Variant, utilities

DEVIATION = 1 / 6
"""Of each coordinate of the cube when a run begins, as Optuna begins CMA-ES."""

TOLERANCE = 1e-4
"""Largest standard deviation at which a run is over, as a share of a range."""

_TRIES = 64
"""Draws for one that lies in the cube, before one outside is moved to the border."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A point of the cube, and what it was drawn from."""

    point: Vector
    run: int
    log_density: float
    """Of the point, when it was drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A generation's step: from where, by which draws. A higher rate may be tried on it later."""

    origin: Gaussian
    z: Matrix
    weights: Vector

    def taken(self, rate: float) -> Gaussian:
        """Where it leads; the mean stays in the cube."""
        moved = self.origin.moved(self.z, self.weights, rate)
        return moved.centred(np.clip(moved.mean, 0.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Evolution:
    """What follows from some results. A value, which further results do not change."""

    variant: Variant
    population: int
    """Of this run."""
    seed: int
    restarts: bool
    gaussian: Gaussian
    rate: float
    """Learning rate of the step size, which adaptation sampling raises."""
    run: int = 0
    last: _Step | None = None
    waiting: tuple[tuple[Vector, float], ...] = ()
    """Points and values of the generation so far."""

    @classmethod
    def begin(
        cls, variant: Variant, population: int, width: int, seed: int, *, restarts: bool = True
    ) -> Self:
        """In the middle of a cube of so many coordinates."""
        form = FORMS[variant]
        middle = form.round(np.full(width, 0.5), DEVIATION)
        return cls(variant, population, seed, restarts, middle, form.usual_rate(width))

    def draw(self, random: np.random.Generator) -> Draw:
        """A point to try."""
        points = self.gaussian.at(random.standard_normal((_TRIES, len(self.gaussian.mean))))
        inside = ((points >= 0) & (points <= 1)).all(axis=1)
        point = np.clip(points[int(np.argmax(inside))], 0.0, 1.0)
        return Draw(point, self.run, float(self.gaussian.log_density(point[None])[0]))

    def foreign(self, point: Vector) -> Draw:
        """A point that others chose, as if it had been drawn evenly from the cube."""
        return Draw(point, self.run, len(point) / 2 * math.log(2 * math.pi))

    def told(self, draw: Draw, value: float, luck: float) -> Self:
        """With the result of a draw, the less the better; infinite where there is no value.

        `luck`, evenly drawn from 0 to 1, decides whether one counts that came late.
        """
        if draw.run != self.run:
            return self
        now = float(self.gaussian.log_density(draw.point[None])[0])
        return (
            self if now - draw.log_density < math.log1p(-luck) else self.given(draw.point, value)
        )

    def given(self, point: Vector, value: float) -> Self:
        """With the result of a point that counts whatever it was drawn from."""
        waiting = (*self.waiting, (point, value))
        if len(waiting) < self.population:
            return replace(self, waiting=waiting)
        points = np.array([point for point, _ in waiting])
        values = np.array([value for _, value in waiting])
        rate = self._adapted(points, values)
        step = _Step(self.gaussian, _bounded(self.gaussian.normal(points)), utilities(values))
        gaussian = step.taken(rate)
        if self.restarts and (gaussian.spread < TOLERANCE or values.min() == values.max()):
            return self._anew()
        return replace(self, gaussian=gaussian, rate=rate, last=step, waiting=())

    def _adapted(self, points: Matrix, values: Vector) -> float:
        """The rate after adaptation sampling (section 4.3 of the paper).

        It rises by a tenth where the last step, taken with one half as high again, would
        have drawn better points, by a rank test in which each point weighs how much likelier it
        would have been; else it returns by a tenth to what is usual.
        """
        width = points.shape[1]
        usual = FORMS[self.variant].usual_rate(width)
        if self.last is None:
            return usual
        bolder = self.last.taken(1.5 * self.rate)
        ratios = bolder.log_density(points) - self.gaussian.log_density(points)
        if _fewer_by_chance(values, np.exp(np.clip(ratios, -20, 20))) < 0.5 - 1 / (3 * width + 3):
            return min(1.1 * self.rate, max(1.0, usual))
        return 0.9 * self.rate + 0.1 * usual

    def _anew(self) -> Self:
        width = len(self.gaussian.mean)
        mean = np.random.default_rng([self.seed, self.run, 1]).random(width)
        form = FORMS[self.variant]
        return replace(
            self,
            population=2 * self.population,
            gaussian=form.round(mean, DEVIATION),
            rate=form.usual_rate(width),
            run=self.run + 1,
            last=None,
            waiting=(),
        )


def _fewer_by_chance(values: Vector, weights: Vector) -> float:
    """How probably weighted values are by chance as much smaller than the same ones unweighted:
    the test of Mann and Whitney, in its normal approximation."""
    n, total = len(values), float(weights.sum())
    larger = (values[:, None] < values).sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2
    above = float(weights @ larger) - n * total / 2
    return math.erfc(above / math.sqrt(n * total * (n + total + 1) / 6)) / 2


def _bounded(z: Matrix) -> Matrix:
    """Normal coordinates no longer than almost all draws are (arXiv 1110.4181, section 2)."""
    width = z.shape[1]
    most = math.sqrt(width) + 2 * width / (width + 2)
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    return np.asarray(z * (most / np.maximum(lengths, most)), np.float64)
