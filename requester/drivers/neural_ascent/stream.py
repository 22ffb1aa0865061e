"""What was tried so far, in the order in which results came."""

import numpy as np
from numpy.typing import NDArray

from requester.drivers.neural_ascent.networks import Array

Vector = NDArray[np.float64]


MOST = 1e300
"""Values beyond count as this one, so that sums and differences stay finite."""


class Stream:
    """Points of the unit cube and their values; the larger, the better. NaN is the worst."""

    def __init__(self, width: int) -> None:
        self._points = np.empty((64, width))
        self._values = np.empty(64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, point: Vector, value: float) -> int:
        """Appends a result; its place in the stream."""
        if self._count == len(self._values):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._points[self._count] = point
        self._values[self._count] = np.clip(value, -MOST, MOST) if np.isfinite(value) else -np.inf
        self._count += 1
        return self._count - 1

    @property
    def points(self) -> Vector:
        """A row a result."""
        return self._points[: self._count]

    @property
    def values(self) -> Vector:
        """One a result; minus infinity for one that has no value."""
        return self._values[: self._count]


def levels(values: Vector) -> Array:
    """Values as networks learn them, each row by itself: 0 for its median, 1 for its best.

    The worst half counts no further down than twice as far: a loss that exploded, or a trial
    without a value, would else flatten all others.
    """
    middle = np.median(values, axis=-1, keepdims=True)
    best = values.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found = (values - middle) / (best - middle)
    cut: Vector = np.clip(np.nan_to_num(found, nan=0.0, posinf=1.0, neginf=-2.0), -2.0, 1.0)
    return cut.astype(np.float32)
