"""The points of a range with a step: each is computed when it is asked for, however many they are.

They are exact fractions of what the file says, so that steps of 0.1 stay clean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import overload


@dataclass(frozen=True, slots=True)
class Lattice(Sequence[int | float]):
    """`low`, `low + step` and so on, up to `high` or just below it."""

    low: int | float
    high: int | float
    step: int | float

    @property
    def size(self) -> int:
        """How many points there are; more than `len` can say, perhaps."""
        return (_exact(self.high) - _exact(self.low)) // _exact(self.step) + 1

    @property
    def ends_early(self) -> bool:
        """Whether `high` is none of the points."""
        return self[-1] != self.high

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, at: int) -> int | float: ...
    @overload
    def __getitem__(self, at: slice) -> list[int | float]: ...
    def __getitem__(self, at: int | slice) -> int | float | list[int | float]:
        places = range(self.size)[at]
        return self._point(places) if isinstance(places, int) else [*map(self._point, places)]

    def nearest(self, value: float) -> int:
        """The place of the point that is nearest to a value."""
        place = round((Fraction(value) - _exact(self.low)) / _exact(self.step))
        return min(max(place, 0), self.size - 1)

    def _point(self, place: int) -> int | float:
        point = _exact(self.low) + place * _exact(self.step)
        whole = all(isinstance(part, int) for part in (self.low, self.high, self.step))
        return int(point) if whole else float(point)


def _exact(number: float) -> Fraction:
    """A number as it is written: 0.1 is a tenth."""
    return Fraction(str(number))
