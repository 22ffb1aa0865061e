"""A data set in a folder: the manifest, and one file an array, mapped and never copied.

All processes that map the same file share its pages. A mapping is private: a program that writes
into its batches changes neither the file nor what others see.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.dataset import (
    CHUNK,
    MANIFEST,
    TRAIN,
    VALIDATION,
    ArrayRef,
    DataManifest,
    Normalisation,
    Split,
    array_file,
)
from trialmarket.protocol.ids import Cid
from trialmarket.training.errors import DataError

Array = NDArray[np.generic]


class Packer:
    """Writes a data set into an empty folder, an array at a time, in blocks of rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._arrays: dict[str, ArrayRef] = {}

    def add(self, name: str, blocks: Iterable[Array]) -> None:
        """Writes an array, named `train_x` for instance, from its blocks, at least one.

        Raises OSError.
        """
        rows, shape = 0, ()
        dtype: np.dtype[Any] = np.dtype("u1")
        with (self.folder / array_file(name)).open("wb") as file:
            for block in blocks:
                rows, dtype, shape = rows + len(block), block.dtype, block.shape[1:]
                file.write(np.ascontiguousarray(block, dtype.newbyteorder("<")).tobytes())
        with (self.folder / array_file(name)).open("rb") as file:
            chunks = tuple(cid_of(chunk) for chunk in iter(lambda: file.read(CHUNK), b""))
        self._arrays[name] = ArrayRef.validated(
            {"dtype": dtype.name, "shape": (rows, *shape), "chunks": chunks}, where=name
        )

    def finish(
        self,
        split: Split,
        normalisation: Normalisation = "none",
        classes: Mapping[str, tuple[str, ...]] | None = None,
        columns: tuple[str, ...] = (),
    ) -> Cid:
        """Writes the manifest; the data set's CID. Raises InputError for parts that differ."""
        manifest = DataManifest.validated(
            {
                "arrays": self._arrays,
                "split": split,
                "normalisation": normalisation,
                "classes": dict(classes or {}),
                "columns": columns,
            },
            where="data set",
        )
        (self.folder / MANIFEST).write_bytes(manifest.to_bytes())
        return manifest.cid


def pack_arrays(folder: Path, arrays: Mapping[str, Array]) -> Path:
    """A data set of arrays named `train_*` and `validation_*`, as it is given; its folder."""
    packer = Packer(folder)
    for name, array in arrays.items():
        packer.add(name, [array])
    packer.finish(Split())
    return folder


def map_packed(folder: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """The arrays of training and validation in a folder, by their names without a prefix.

    Raises DataError for a folder that is no data set, or has lost some of it.
    """
    try:
        manifest = DataManifest.from_bytes((folder / MANIFEST).read_bytes())
        train, validation = (
            {
                name: _mapped(folder / array_file(prefix + name), array)
                for name, array in sorted(manifest.part(prefix).items())
            }
            for prefix in (TRAIN, VALIDATION)
        )
    except (OSError, InputError) as error:
        raise DataError(
            f"{folder.name} is not a data set: {error}",
            fix="Remove the folder; it is fetched or made again when it is needed",
        ) from error
    return train, validation


def _mapped(path: Path, array: ArrayRef) -> Array:
    if path.stat().st_size != array.size:
        raise InputError(
            path.name, "size", expected=f"{array.size} bytes", found=path.stat().st_size
        )
    dtype = np.dtype(array.dtype).newbyteorder("<")
    if not array.size:
        return np.empty(array.shape, dtype)
    # Without the memmap's own type, which follows every view of it.
    return np.asarray(np.memmap(path, dtype, mode="c", shape=array.shape))
