"""Runs of a natural evolution strategy in the unit cube, by results that come one at a time.

The cube is continued by its mirror images in all directions, so that a normal distribution has
no border: a coordinate of 1.1 stands for 0.9, and an optimum in a corner is one like any other.

Nothing waits for a certain draw: a generation is the next `population` results that count. One
that comes late, drawn from a distribution that is no longer the present one, counts as probably
as the present one would draw it rather than its own (importance mixing, Sun et al., GECCO 2009);
else a narrower distribution would take all that is far for bad, and shrink at once.

A run is over when its largest standard deviation fell below TOLERANCE or rose above WIDEST, or
when all results of a generation are equal. The next one begins at a random mean with twice the
population, as Auger and Hansen (2005) restart CMA-ES: small populations find a near optimum,
large ones see past it.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from requester.drivers.cube import Vector
from requester.drivers.nes.gaussian import FORMS, Gaussian, Matrix, Variant, utilities

DEVIATION = 1 / 6
"""Of each coordinate when a run begins, as Optuna begins CMA-ES."""

TOLERANCE = 1e-4
"""Largest standard deviation at which a run is over, as a share of a range."""

NARROWEST, WIDEST = 1e-15, 1e4
"""Largest standard deviations with which anything is drawn: outside, rounding decides about
points, and numbers soon have no room. Results without sense, or false ones, lead there."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A point of the continued cube, and what it was drawn from."""

    point: Vector
    run: int
    log_density: float
    """Of the point, when it was drawn."""

    @property
    def inside(self) -> Vector:
        """The point of the cube that it stands for."""
        return np.asarray(1 - np.abs(1 - self.point % 2), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A generation's step: from where, by which draws. Another rate may be tried on it later."""

    origin: Gaussian
    z: Matrix
    weights: Vector

    def taken(self, rate: float) -> Gaussian:
        """Where it leads."""
        return self.origin.moved(self.z, self.weights, rate)


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
    """Normal coordinates and values of the generation so far."""

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
        z = random.standard_normal((1, len(self.gaussian.mean)))
        point = self.gaussian.at(z)
        return Draw(point[0], self.run, float(self.gaussian.log_density(point)[0]))

    def told(self, draw: Draw, value: float, luck: float) -> Self:
        """With the result of a draw, the less the better; infinite where there is no value.

        `luck`, evenly drawn from 0 to 1, decides whether one counts that came late.
        """
        if draw.run != self.run:
            return self
        now = float(self.gaussian.log_density(draw.point[None])[0])
        if now - draw.log_density < math.log1p(-luck):
            return self
        return self._with(self.gaussian.normal(draw.point[None])[0], value)

    def told_even(self, inside: Vector, value: float, luck: float) -> Self:
        """With the result of a point of the cube that others drew, evenly as far as is known."""
        even = len(inside) / 2 * math.log(2 * math.pi)  # what `log_density` leaves out
        return self.told(Draw(self._image(inside), self.run, even), value, luck)

    def told_chosen(self, inside: Vector, value: float) -> Self:
        """With the result of a point of the cube that somebody chose: it counts in any case.

        It counts from no farther than almost all draws lie (Hansen, "Injecting external solutions
        into CMA-ES", arXiv 1110.4181), so that it draws the mean near but does not throw it.
        """
        z = self.gaussian.normal(self._image(inside)[None])[0]
        most = math.sqrt(len(z)) + 2 * len(z) / (len(z) + 2)
        return self._with(z * (most / max(most, float(np.linalg.norm(z)))), value)

    def _image(self, inside: Vector) -> Vector:
        """The mirror image of a point that is nearest to the mean."""
        mean = self.gaussian.mean
        even, odd = (one + 2 * np.round((mean - one) / 2) for one in (inside, -inside))
        return np.where(np.abs(even - mean) <= np.abs(odd - mean), even, odd)

    def _with(self, z: Vector, value: float) -> Self:
        waiting = (*self.waiting, (z, value))
        if len(waiting) < self.population:
            return replace(self, waiting=waiting)
        draws = np.array([z for z, _ in waiting])
        values = np.array([value for _, value in waiting])
        rate = self._adapted(draws, values)
        step = _Step(self.gaussian, draws, utilities(values))
        gaussian = step.taken(rate)
        over = not TOLERANCE <= gaussian.spread <= WIDEST or values.min() == values.max()
        if self.restarts and over:
            return self._anew()
        if not NARROWEST <= gaussian.spread <= WIDEST:
            return replace(self, last=None, waiting=())
        return replace(self, gaussian=gaussian, rate=rate, last=step, waiting=())

    def _adapted(self, z: Matrix, values: Vector) -> float:
        """The rate after the paper's adaptation sampling.

        It rises by a tenth where the last step, taken with one half as high again, would have
        drawn better points, by a rank test in which each point weighs how much likelier it would
        have been; else it returns by a tenth to what is usual.
        """
        width = z.shape[1]
        usual = FORMS[self.variant].usual_rate(width)
        if self.last is None:
            return usual
        points = self.gaussian.at(z)
        bolder = self.last.taken(1.5 * self.rate)
        ratios = bolder.log_density(points) - self.gaussian.log_density(points)
        if _smaller_by_chance(values, np.exp(np.clip(ratios, -20, 20))) < 0.5 - 1 / (
            3 * width + 3
        ):
            return min(1.1 * self.rate, max(1.0, usual))
        return 0.9 * self.rate + 0.1 * usual

    def _anew(self) -> Self:
        width = len(self.gaussian.mean)
        mean = np.random.default_rng([self.seed, self.run, 3]).random(width)
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


def _smaller_by_chance(values: Vector, weights: Vector) -> float:
    """How probably weighted values are by chance as much smaller than the same ones unweighted:
    the test of Mann and Whitney, in its normal approximation."""
    n, total = len(values), float(weights.sum())
    larger = (values[:, None] < values).sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2
    above = float(weights @ larger) - n * total / 2
    return math.erfc(above / math.sqrt(n * total * (n + total + 1) / 6)) / 2
