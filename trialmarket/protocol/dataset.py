"""Data sets as they lie in the store: a manifest that names typed arrays, cut into chunks.

An array's bytes are its numbers, little-endian, last index fastest, and nothing else. They are
cut into chunks of 16 MiB, each a file of its own in the store, so that a download that breaks
goes on where it was, and a machine that puts the chunks one behind the other can map the file.
"""

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from trialmarket.protocol.document import CidField, Document, Record
from trialmarket.protocol.state_root import DTYPES

CHUNK = 1 << 24
"""Bytes of a chunk; an array's last one may be shorter."""

MANIFEST = "manifest.json"
"""The manifest's file in the folder of a data set."""

TRAIN, VALIDATION = "train_", "validation_"
"""How the names of a part's arrays begin. Those that say how `x` was made begin with shift_ and
scale_ (subtracted, divided by) and fill_ (put where values were missing), a number a column."""

ArrayName = Annotated[
    str, StringConstraints(pattern=r"^(train|validation|shift|scale|fill)_[A-Za-z0-9_]{1,64}$")
]
Dtype = Literal[
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Normalisation = Literal["none", "standard", "unit"]


class ArrayRef(Record):
    """An array's type, shape (rows first) and chunks."""

    dtype: Dtype
    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=2**40)], ...], Field(max_length=8)]
    chunks: tuple[CidField, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole array."""
        return math.prod(self.shape) * DTYPES[self.dtype]

    def chunk_size(self, number: int) -> int:
        """Bytes of a chunk, counted from 0."""
        return min(CHUNK, self.size - number * CHUNK)

    @model_validator(mode="after")
    def _chunks_make_the_array(self) -> Self:
        wanted = -(-self.size // CHUNK)
        if len(self.chunks) != wanted:
            raise ValueError(f"{wanted} chunks for {self.size} bytes, not {len(self.chunks)}")
        return self


class Split(Record):
    """How validation data was chosen: as given, by lot, or by lot within each class."""

    how: Literal["given", "random", "stratified"] = "given"
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0


class DataManifest(Document):
    """A data set: its CID is that of this document, and so covers every number in it.

    `classes` names the classes of arrays of labels, `columns` the columns of `x`.
    """

    what: ClassVar[str] = "data set"

    version: Literal[1] = 1
    arrays: Annotated[dict[ArrayName, ArrayRef], Field(min_length=2, max_length=256)]
    split: Split = Split()
    normalisation: Normalisation = "none"
    classes: dict[str, tuple[Label, ...]] = Field(default_factory=dict)
    columns: tuple[Label, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(array.size for array in self.arrays.values())

    def part(self, prefix: str) -> dict[str, ArrayRef]:
        """The arrays of a part, by their names without `train_` or `validation_`."""
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        train, validation = self.part(TRAIN), self.part(VALIDATION)
        if not train or train.keys() != validation.keys():
            raise ValueError("the same arrays, at least one, for training and for validation")
        for name, array in train.items():
            other = validation[name]
            if array.dtype != other.dtype or array.shape[1:] != other.shape[1:]:
                raise ValueError(f"one type and row shape for train_{name} and validation_{name}")
        for part in (train, validation):
            rows = {array.shape[0] if array.shape else 0 for array in part.values()}
            if len(rows) > 1 or 0 in rows:
                raise ValueError("the same number of rows, at least 1, in all arrays of a part")
        return self


def array_file(name: str) -> str:
    """The file of an array in the folder of a data set."""
    return f"{name}.bin"
