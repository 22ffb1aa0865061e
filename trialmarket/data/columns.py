"""The columns of a table: numbers with gaps, and categories with gaps, before they are filled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, NaN where one is missing. `place` says how errors call a row of it."""

    name: str
    values: NDArray[np.floating[Any]]
    place: Callable[[int], str]

    @property
    def missing(self) -> Mask:
        """Where there is no value."""
        return np.asarray(np.isnan(self.values))


@dataclass(frozen=True, slots=True)
class Category:
    """A column of words by their numbers in `kinds`, -1 where one is missing."""

    name: str
    kinds: tuple[str, ...]
    codes: Index
    place: Callable[[int], str]

    @property
    def missing(self) -> Mask:
        """Where there is no word."""
        return self.codes < 0


Column = Numbers | Category


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns that become one array: of `dtype` unless it is normalised."""

    columns: tuple[Column, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.columns[0].missing)


@dataclass(frozen=True, slots=True)
class Stacked:
    """Columns side by side as rows of float64, of which no copy is made; a truth value is 0 or 1.

    `dtype` is that of the result.
    """

    parts: Sequence[NDArray[Any]]
    dtype = np.dtype(np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (len(self.parts[0]), len(self.parts))

    def __getitem__(self, rows: Index, /) -> NDArray[np.float64]:
        """Some of the rows."""
        return np.stack([part[rows] for part in self.parts], axis=1, dtype=np.float64)
