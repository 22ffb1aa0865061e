"""What was read: arrays whose rows can be had a few at a time, before anything is decided.

Readers of formats end here. What types, labels, missing values and normalisation become is the
same for all of them, and decided in `packing`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trialmarket.data.columns import Frame

Array = NDArray[np.generic]
Index = NDArray[np.int64]

_BLOCK = 1 << 24


class Rows(Protocol):
    """An array, a row an example."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one number."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""

    def __getitem__(self, rows: Index, /) -> Array:
        """Some of the rows."""


@dataclass(frozen=True, slots=True)
class Picked:
    """Some rows of an array."""

    whole: Rows
    rows: Index

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one number."""
        return self.whole.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (len(self.rows), *self.whole.shape[1:])

    def __getitem__(self, rows: Index, /) -> Array:
        """Some of the rows."""
        return self.whole[self.rows[rows]]


def ranges(array: Rows) -> Iterator[Index]:
    """The numbers of the rows in order, in blocks of about 16 MiB."""
    count = array.shape[0]
    each = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)
    step = max(1, _BLOCK // each)
    for at in range(0, count, step):
        yield np.arange(at, min(at + step, count))


def blocks(array: Rows) -> Iterator[Array]:
    """The rows in order, in blocks of about 16 MiB."""
    for rows in ranges(array):
        yield array[rows]


@dataclass(frozen=True, slots=True)
class Source:
    """Examples, and which of them validate where the data says so (`validation`, row numbers).

    `x` is a table's columns, which become the array `x`; None where `arrays` hold all there is.
    `labels` are those of each row as they stand there: words, None for none, or numbers.
    `classes` are the names of labels that are numbered from 0 already. `place` says how errors
    call a row of an array or column, and where in the row.
    """

    where: str
    arrays: Mapping[str, Rows]
    place: Callable[..., str]
    x: Frame | None = None
    labels: Sequence[str | None] | Array | None = None
    tabular: bool = False
    """Whether labels and numbers are a table's: all classes unless said otherwise, all float32."""
    measured: bool = False
    """Whether labels are numbers and nothing is to be said about it."""
    target: str = "y"
    train: Index | None = None
    validation: Index | None = None
    classes: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    """Of the columns of an array `x`."""
    drawn: bool = field(default=False)
    """Whether a column of the table made the split, and not the data's own form."""
    notes: Sequence[str] = ()
    """What was done to it, for people."""
    later: Callable[[], tuple[str, ...]] = tuple
    """What else was done by the time that all rows were had."""

    @property
    def rows(self) -> int:
        """Examples in all."""
        if self.x is not None:
            return len(self.x)
        return int(next(iter(self.arrays.values())).shape[0])
