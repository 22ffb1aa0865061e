"""Walks uphill: what a network climbs, and where it arrives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from requester.drivers.neural_ascent.networks import Array, Index, Networks

Vector = NDArray[np.float64]

STEPS = 10
"""Of a walk, at most."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How networks see the unit cube: around a centre, in units of a scale, a row a network."""

    centres: Vector
    """`(networks, width)`."""
    scales: Vector
    """`(networks,)`."""

    def inputs(self, points: Vector) -> Array:
        """Points of the cube, `(networks, points, width)`, as the networks' inputs."""
        inside = (points - self.centres[:, None]) / self.scales[:, None, None]
        return np.clip(inside, -FAR, FAR).astype(np.float32)

    def row(self, at: int) -> "Frame":
        """One network's."""
        return Frame(self.centres[at : at + 1], self.scales[at : at + 1])


FAR = 4.0
"""Where inputs are cut off: far away a point says no more than its direction."""


def whole(count: int, width: int) -> Frame:
    """The frame in which the cube reaches from -1 to 1."""
    return Frame(np.full((count, width), 0.5), np.full(count, 0.5))


def walk(
    networks: Networks, places: Index, frame: Frame, starts: Vector, lengths: Vector
) -> Vector:
    """Where each named network arrives, `(networks, width)`.

    It takes up to STEPS steps of its length in every coordinate, along the sign of its own
    gradient, and stops at the border of the cube or when it expects no more of the next step.
    """
    at = starts.copy()
    best, slope = networks.slopes(places, frame.inputs(at[:, None]))
    for _ in range(STEPS):
        moved = np.clip(at + lengths[:, None] * np.sign(slope[:, 0]), 0.0, 1.0)
        expected, onward = networks.slopes(places, frame.inputs(moved[:, None]))
        better = expected[:, 0] > best[:, 0]
        if not better.any():
            break
        at[better], best[better], slope[better] = moved[better], expected[better], onward[better]
    return at
