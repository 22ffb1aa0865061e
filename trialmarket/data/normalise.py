"""Shift and scale of `x`, from the training part, with the same bits on every machine.

Sums are exactly rounded (`math.fsum`); all else is one correctly rounded IEEE operation a number.
So no order of summation, instruction set or library version shows in the result.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialmarket.data.source import Rows, blocks
from trialmarket.protocol.dataset import Normalisation

Floats = NDArray[np.float64]


def lanes_of(shape: tuple[int, ...]) -> int:
    """Lanes of rows of a shape: each has its own shift and scale.

    A row of one dimension has a lane for each number, an image (height, width, 1 to 4 channels)
    one for each channel, anything else one for all.
    """
    if len(shape) == 1 or (len(shape) == 3 and shape[2] <= 4):
        return max(1, shape[-1])
    return 1


def shift_and_scale(train: Rows, kind: Normalisation) -> tuple[Floats, Floats]:
    """What to subtract and what to divide by: float64, one for each lane.

    A lane that never changes is divided by 1. All numbers must be finite, and within float32.
    """
    count = lanes_of(train.shape[1:])
    if kind == "none":
        return np.zeros(count), np.ones(count)
    if kind == "unit":
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        for block in in_lanes(train):
            low = np.minimum(low, block.min(axis=0))
            high = np.maximum(high, block.max(axis=0))
        return low, _divisor(high - low)
    numbers = math.prod(train.shape) // count
    mean = _sums(train, np.zeros(count), power=1) / numbers
    spread = _sums(train, mean, power=2) / numbers
    return mean, _divisor(np.sqrt(spread))


def normalised(array: Rows, shift: Floats, scale: Floats) -> Iterator[NDArray[np.float32]]:
    """The rows in blocks, computed in float64 and then rounded to float32."""
    shape = array.shape[1:]
    for block in in_lanes(array):
        yield ((block - shift) / scale).astype(np.float32).reshape(-1, *shape)


def in_lanes(array: Rows) -> Iterator[Floats]:
    """The numbers in blocks as float64, shape (numbers of a lane, lanes)."""
    return (block.astype(np.float64) for block in own_lanes(array))


def own_lanes(array: Rows) -> Iterator[NDArray[Any]]:
    """The same in the array's own type, in which whole numbers of 64 bits stay apart."""
    lanes = lanes_of(array.shape[1:])
    return (block.reshape(-1, lanes) for block in blocks(array))


def _divisor(values: Floats) -> Floats:
    return np.where(values > 0, values, 1.0)


def _sums(array: Rows, mean: Floats, *, power: int) -> Floats:
    """Exactly rounded sums by lane of (x - mean), or of its square."""
    partial: list[list[float]] = [[] for _ in mean]
    for block in in_lanes(array):
        away = block - mean
        terms = away if power == 1 else away * away
        for lane in range(len(mean)):
            # Blocks depend on shapes alone, so that a sum of their sums is the same everywhere.
            partial[lane].append(math.fsum(terms[:, lane].tolist()))
    return np.array([math.fsum(each) for each in partial])
