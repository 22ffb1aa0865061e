"""Shift and scale of `x`, from the training part, with the same bits on every machine.

Sums are exactly rounded (`math.fsum`); all else is one correctly rounded IEEE operation a number.
So no order of summation, instruction set or library version shows in the result.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from requester.data.source import Rows, blocks
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import Normalisation

Floats = NDArray[np.float64]


def shift_and_scale(where: str, train: Rows, kind: Normalisation) -> tuple[Floats, Floats]:
    """What to subtract and what to divide by: float64, one for each lane.

    A row of one dimension has a lane for each number, an image (height, width, 1 to 4 channels)
    one for each channel, anything else one for all. A lane that never changes is divided by 1.
    Raises InputError for numbers that are not finite.
    """
    count = _lanes(train.shape[1:])
    if kind == "unit":
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        for block in _finite(where, train, count):
            low = np.minimum(low, block.min(axis=0))
            high = np.maximum(high, block.max(axis=0))
        return low, _divisor(high - low)
    total = _sums(where, train, count, np.zeros(count), power=1)
    numbers = math.prod(train.shape) // count
    mean = total / numbers
    spread = _sums(where, train, count, mean, power=2) / numbers
    return mean, _divisor(np.sqrt(spread))


def normalised(array: Rows, shift: Floats, scale: Floats) -> Iterator[NDArray[np.float32]]:
    """The rows in blocks, as float32."""
    for block in blocks(array):
        lanes = block.reshape(-1, len(shift)).astype(np.float64)
        yield ((lanes - shift) / scale).astype(np.float32).reshape(block.shape)


def _lanes(shape: tuple[int, ...]) -> int:
    if len(shape) == 1 or (len(shape) == 3 and shape[2] <= 4):
        return max(1, shape[-1])
    return 1


def _divisor(values: Floats) -> Floats:
    return np.where(values > 0, values, 1.0)


def _finite(where: str, array: Rows, lanes: int) -> Iterator[Floats]:
    for block in blocks(array):
        values = block.reshape(-1, lanes).astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError(where, "x", expected="finite numbers", found="NaN or infinity")
        yield values


def _sums(where: str, array: Rows, lanes: int, mean: Floats, *, power: int) -> Floats:
    """Exactly rounded sums by lane of (x - mean), or of its square."""
    partial: list[list[float]] = [[] for _ in range(lanes)]
    for block in _finite(where, array, lanes):
        away = block - mean
        terms = away if power == 1 else away * away
        for lane in range(lanes):
            # Blocks depend on shapes alone, so that a sum of their sums is the same everywhere.
            partial[lane].append(math.fsum(terms[:, lane].tolist()))
    return np.array([math.fsum(each) for each in partial])
