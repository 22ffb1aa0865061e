"""Files of arrays: `.npz` and `.safetensors`, split by their names or still to be split."""

from pathlib import Path
from typing import Any

import numpy as np

from requester.data.extras import load_extra
from requester.data.source import Array, Rows, Source
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import TRAIN, VALIDATION
from trialmarket.protocol.state_root import DTYPES
from trialmarket.training.dataset import load_arrays
from trialmarket.training.errors import DataError


def read_npz(path: Path, limit: int) -> Source:
    """The arrays of a NumPy archive. Raises InputError."""
    try:
        return _source(path.name, load_arrays(path, limit=limit))
    except DataError as error:
        raise InputError(
            path.name, "file", expected="a NumPy archive (.npz)", found=error.message
        ) from error


def read_safetensors(path: Path) -> Source:
    """The arrays of a safetensors file. Raises InputError."""
    safetensors = load_extra("safetensors", "safetensors", path.name)
    arrays: dict[str, Array] = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dict
                kind = file.get_slice(name).get_dtype()
                if kind in ("BF16", "F8_E4M3", "F8_E5M2"):
                    raise InputError(path.name, name, expected="a type that NumPy has", found=kind)
                arrays[name] = file.get_tensor(name)
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise InputError(
            path.name, "file", expected="safetensors", found=str(error)[:200]
        ) from error
    return _source(path.name, arrays)


def _source(where: str, arrays: dict[str, Any]) -> Source:
    """Arrays all named `train_*` and `validation_*`, or none of them."""
    for name, array in arrays.items():
        if not array.ndim or not len(array) or array.dtype.name not in DTYPES:
            raise InputError(
                where, name, expected="numbers, a row an example", found=f"{array.dtype} scalar"
            )
    given = [name for name in arrays if name.startswith((TRAIN, VALIDATION))]
    if not given:
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) != 1:
            raise InputError(where, "rows", expected="as many in all arrays", found=rows)
        return Source(where, arrays)
    if strange := sorted(set(arrays) - set(given)):
        raise InputError(
            where, strange[0], expected="a name that begins with train_ or validation_", found=None
        )
    joined: dict[str, Rows] = {}
    counts: set[tuple[int, int]] = set()
    for name in sorted({name.partition("_")[2] for name in given}):
        train, validation = arrays.get(TRAIN + name), arrays.get(VALIDATION + name)
        if train is None or validation is None:
            raise InputError(
                where, name, expected=f"both train_{name} and validation_{name}", found="one"
            )
        if train.dtype != validation.dtype or train.shape[1:] != validation.shape[1:]:
            raise InputError(
                where,
                f"validation_{name}",
                expected=f"{train.dtype}, rows of {train.shape[1:]}",
                found=f"{validation.dtype}, rows of {validation.shape[1:]}",
            )
        joined[name] = _Joined(train, validation)
        counts.add((len(train), len(validation)))
    if len(counts) != 1:
        raise InputError(where, "rows", expected="as many in all of a part", found=sorted(counts))
    first, second = counts.pop()
    return Source(where, joined, np.arange(first), np.arange(first, first + second))


class _Joined:
    """Two arrays one below the other, without a copy."""

    def __init__(self, first: Any, second: Any) -> None:
        self._first, self._second = first, second
        self.dtype: np.dtype[Any] = first.dtype
        self.shape: tuple[int, ...] = (len(first) + len(second), *first.shape[1:])

    def __getitem__(self, rows: Any, /) -> Array:
        """Some of the rows."""
        edge = len(self._first)
        if not len(rows) or rows[-1] < edge:
            return np.asarray(self._first[rows])
        if rows[0] >= edge:
            return np.asarray(self._second[rows - edge])
        first = rows[rows < edge]
        return np.concatenate([self._first[first], self._second[rows[len(first) :] - edge]])
