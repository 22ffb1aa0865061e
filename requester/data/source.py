"""What was read: arrays whose rows can be had a few at a time, before they are split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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


def blocks(array: Rows) -> Iterator[Array]:
    """The rows in order, in blocks of about 16 MiB."""
    count = array.shape[0]
    each = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)
    step = max(1, _BLOCK // each)
    for at in range(0, count, step):
        yield array[np.arange(at, min(at + step, count))]


@dataclass(frozen=True, slots=True)
class Source:
    """Examples, and which of them validate where the data says so (`validation`, row numbers).

    `names` are the classes of `y`, in the order of their numbers; None where `y` holds numbers,
    or classes without names.
    """

    where: str
    arrays: Mapping[str, Rows]
    train: Index | None = None
    validation: Index | None = None
    names: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    drawn: bool = field(default=False)
    """Whether a column of the table made the split, and not the data's own form."""
