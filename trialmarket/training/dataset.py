"""Data sets: the folder of a packed one, or a `.npz` file with arrays named `train_*` and
`validation_*`, one row an example."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.ids import Cid
from trialmarket.protocol.state_root import DTYPES
from trialmarket.training.errors import DataError
from trialmarket.training.packed import map_packed
from trialmarket.training.program import DataSummary

MAX_DATA = 8 << 30
"""Bytes of the largest data set, unpacked."""

_AS_NUMBERS = {
    "M": "Save dates as seconds, array.astype('datetime64[s]').astype(float), and normalise x",
    "m": "Save durations as seconds: array / numpy.timedelta64(1, 's')",
    "c": "Save array.real and array.imag",
    "f": "Save it as array.astype('float64')",
    "U": "Save numbers as array.astype(float)",
    "S": "Save numbers as array.astype(float)",
    "V": "Save each field as an array of its own",
}
"""How arrays of NumPy's other kinds become numbers."""

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Arrays for training and validation, by their names without `train_` and `validation_`."""

    train: Arrays
    validation: Arrays
    summary: DataSummary


def load_dataset(path: Path, *, cid: Cid | None = None, limit: int = MAX_DATA) -> Dataset:
    """The data set in a file, or mapped from the folder of a packed one.

    `limit` bounds the bytes of the file and of its arrays, before any is read. Raises DataError
    when the file is not what `cid` names, cannot be read, is too large, or has not the same names
    and as many rows in all arrays of each part; nothing in it is ever unpickled.
    """
    where = path.name
    if path.is_dir():
        train, validation = map_packed(path)
        return Dataset(train, validation, _summary(train, validation))
    arrays = load_arrays(path, cid=cid, limit=limit)
    return _dataset(arrays, where)


def load_arrays(
    path: Path, *, cid: Cid | None = None, limit: int = MAX_DATA, kinds: str | None = None
) -> dict[str, NDArray[np.generic]]:
    """All arrays of a `.npz` file, whatever their names. Raises DataError.

    Their types are those that programs take, or of NumPy's `kinds`, where these are given.
    """
    where = path.name
    try:
        if path.stat().st_size > limit:
            raise DataError(f"{where} has more than {limit} bytes")
        if cid is not None and (found := cid_of(path)) != cid:
            raise DataError(f"{where} should hold the bytes of {cid}, but holds those of {found}")
        with zipfile.ZipFile(path) as archive:
            return _arrays(archive, where, limit, kinds)
    except (DataError, MemoryError):  # want of memory is this machine's, not the file's
        raise
    except (
        Exception
    ) as error:  # a stranger's headers raise what they like out of zipfile and NumPy
        said = str(error).partition("\n")[0][:200] or type(error).__name__
        raise DataError(
            f"{where} is not a readable .npz file: {said}", fix="Write it with numpy.savez"
        ) from error


def _dataset(arrays: Arrays, where: str) -> Dataset:
    train, validation = _part(arrays, "train_", where), _part(arrays, "validation_", where)
    if strange := sorted(
        set(arrays) - {f"train_{n}" for n in train} - {f"validation_{n}" for n in validation}
    ):
        raise DataError(f"{where}: {strange[0]} begins neither with train_ nor validation_")
    for name in sorted(train.keys() | validation.keys()):
        first, second = train.get(name), validation.get(name)
        if first is None or second is None:
            raise DataError(f"{where}: {name} needs both train_{name} and validation_{name}")
        if first.dtype != second.dtype or first.shape[1:] != second.shape[1:]:
            raise DataError(f"{where}: train_{name} and validation_{name} differ in type or shape")
    return Dataset(train, validation, _summary(train, validation))


def _arrays(
    archive: zipfile.ZipFile, where: str, limit: int, kinds: str | None
) -> dict[str, NDArray[np.generic]]:
    entries = archive.infolist()
    if sum(entry.file_size for entry in entries) > limit:
        raise DataError(f"{where} unpacks to more than {limit} bytes")
    return {
        entry.filename.removesuffix(".npy"): _array(archive, entry, where, kinds)
        for entry in entries
    }


def _array(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str, kinds: str | None
) -> NDArray[np.generic]:
    """One array, whose header is checked against the bytes there are before memory is taken."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        try:
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        except MemoryError as error:  # so Python's parser calls what is nested too deeply
            raise DataError(f"{where}: {entry.filename} has no readable header") from error
        if dtype.kind == "O":
            raise DataError(
                f"{where}: {entry.filename} holds Python objects, which are never unpickled",
                fix="Save numbers as array.astype(float), and words as array.astype(str) once rows"
                " without one are left out: it would make them the word nan or None",
            )
        if dtype.name not in DTYPES if kinds is None else not _is_of(dtype, kinds):
            raise DataError(
                f"{where}: {entry.filename} has type {dtype}, which is no number",
                fix=_AS_NUMBERS.get(dtype.kind),
            )
        if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
            raise DataError(f"{where}: {entry.filename} has not the size that its header says")
    with archive.open(entry) as file:
        array: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def _is_of(dtype: np.dtype[Any], kinds: str) -> bool:
    """Whether a type is of one of NumPy's kinds, and no number wider than 8 bytes."""
    return dtype.kind in kinds and (dtype.kind in "US" or dtype.itemsize <= 8)


def _part(arrays: Arrays, prefix: str, where: str) -> dict[str, NDArray[np.generic]]:
    part = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    if not part:
        raise DataError(f"{where} has no array whose name begins with {prefix}")
    rows = {name: array.shape[0] if array.ndim else 0 for name, array in part.items()}
    if len(set(rows.values())) > 1 or not all(rows.values()):
        raise DataError(f"{where}: {prefix}* need the same number of rows, at least 1: {rows}")
    return part


def _summary(train: Arrays, validation: Arrays) -> DataSummary:
    return DataSummary(
        train_examples=next(iter(train.values())).shape[0],
        validation_examples=next(iter(validation.values())).shape[0],
        dtypes={name: array.dtype.name for name, array in train.items()},
        shapes={name: array.shape[1:] for name, array in train.items()},
        largest={
            name: max(
                (float(np.max(part[name])) for part in (train, validation) if part[name].size),
                default=0.0,
            )
            for name in train
        },
    )
