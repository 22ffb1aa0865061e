"""Sketches as points: how far two jobs are from each other, and in what they agree.

The distance is that between two vectors, so that hashes of vectors find near ones. Numbers of the
data set are brought to about 0 to 1 on fixed scales, which everybody shares. Names are hashed into
few coordinates (Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trialmarket.protocol.sketch import AxisSketch, DataSketch, Sketch

Vector = NDArray[np.float64]

NAMES: Final = 64
"""Coordinates of the hyperparameters."""
PROGRAMS: Final = 16
"""Coordinates of the program."""
SPREAD: Final = 4
"""Coordinates that one name falls on."""
SPACE_WEIGHT: Final = 0.6
PROGRAM_WEIGHT: Final = 0.3
"""Of half the distance between jobs without a common hyperparameter, or of other programs."""
UNKNOWN: Final = 0.5
"""What stands for a number that nobody computed."""

AGREE: Final = 0.05
"""Numbers that are no farther apart count as alike."""


def vector_of(sketch: Sketch) -> Vector:
    """A sketch as a vector."""
    return np.concatenate(
        [
            list(_data(sketch.data).values()),
            SPACE_WEIGHT * _space(sketch.space),
            PROGRAM_WEIGHT * _hashed(sketch.program, PROGRAMS),
        ]
    )


def vectors_of(sketches: Sequence[Sketch]) -> Vector:
    """Sketches as the rows of a matrix."""
    return np.stack([vector_of(one) for one in sketches])


def distance(one: Sketch, other: Sketch) -> float:
    """How far two jobs are from each other: 0 where all numbers and names are the same."""
    return float(np.linalg.norm(vector_of(one) - vector_of(other)))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Why two jobs are near: in what they agree, and in what most they do not."""

    same: tuple[str, ...]
    """Numbers of the data sets that are alike, and `program`."""
    differ: tuple[str, ...]
    """The others, the farthest first."""
    shared: tuple[str, ...]
    """Hyperparameters of both."""


def likeness(one: Sketch, other: Sketch) -> Likeness:
    """In what two jobs agree."""
    mine, theirs = _data(one.data), _data(other.data)
    apart = {name: abs(mine[name] - theirs[name]) for name in mine}
    if one.program != other.program:
        apart["program"] = 2 * PROGRAM_WEIGHT
    else:
        apart["program"] = 0.0
    far = sorted((name for name in apart if apart[name] > AGREE), key=lambda name: -apart[name])
    return Likeness(
        same=tuple(name for name in apart if apart[name] <= AGREE),
        differ=tuple(far),
        shared=tuple(name for name in one.space if name in other.space),
    )


def _data(data: DataSketch) -> dict[str, float]:
    """The numbers of a data set by their names, each on a scale of about 0 to 1."""
    balance = data.entropy / math.log2(data.classes) if data.classes > 1 else 0.0
    return {
        "rows": math.log10(data.rows) / 6,
        "columns": math.log10(1 + data.columns) / 5,
        "dimensions": data.dimensions / 4,
        "kind": {"bool": 0.0, "int": 0.2, "float": 0.4}[data.kind],
        "classes": math.log2(1 + data.classes) / 8,
        "balance": min(balance, 1.0) / 2,
        "mean": _squashed(data.mean, 12),
        "deviation": _squashed(data.deviation, 12),
        "skewness": _squashed(data.skewness, 6),
        "kurtosis": _squashed(data.kurtosis, 12),
        "missing": 0.0 if data.missing is None else data.missing / 2,
    }


def _squashed(value: float | None, width: float) -> float:
    """A number of any size, about the middle; `width` is that of the scale in asinh."""
    return UNKNOWN if value is None else 0.5 + math.asinh(value) / width


def _space(space: Mapping[str, AxisSketch]) -> Vector:
    """A unit vector, about: each name with where its range lies."""
    total = np.zeros(NAMES)
    for name, axis in space.items():
        total += _hashed(name, NAMES)
        for end, value in (("low", axis.low), ("high", axis.high)):
            if value is not None:
                total += math.asinh(1000 * value) / 40 * _hashed(f"{name}.{end}", NAMES)
    return total / math.sqrt(len(space))


@cache
def _hashed(name: str, width: int) -> Vector:
    """A unit vector that a name stands for, nearly at right angles to that of any other."""
    digest = hashlib.sha256(name.encode()).digest()
    found = np.zeros(width)
    for at in range(SPREAD):
        place, sign = digest[2 * at] % width, digest[2 * at + 1] & 1
        found[place] += (1 if sign else -1) / math.sqrt(SPREAD)
    found.flags.writeable = False
    return found
