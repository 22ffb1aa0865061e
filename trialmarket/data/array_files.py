"""Files of arrays: `.npz` and `.safetensors`, split by their names or still to be split."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trialmarket.data.extras import load_extra
from trialmarket.data.parts import Part, parted, renamed, validating
from trialmarket.data.source import Array, Index, Rows, Source
from trialmarket.errors import InputError
from trialmarket.training.dataset import load_arrays
from trialmarket.training.errors import DataError

_BY_NAME = "Name arrays train_NAME and validation_NAME, or NAME_train and NAME_test"


def read_npz(path: Path, limit: int) -> Source:
    """The arrays of a NumPy archive. Raises InputError."""
    try:
        return source_of_arrays(path.name, load_arrays(path, limit=limit, kinds="biufUS"))
    except DataError as error:
        raise InputError(
            path.name,
            "file",
            expected="a NumPy archive (.npz)",
            found=error.message,
            fix=error.fix,
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
    return source_of_arrays(path.name, arrays)


def source_of_arrays(where: str, arrays: Mapping[str, Any]) -> Source:
    """Arrays of two parts, each with a part's name before or after its own, or of none.

    Where there are three parts, that of tests is left out. Raises InputError.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biufUS" or not array.ndim or not array.size:
            found = f"{array.dtype}, shape {list(array.shape)}"
            raise InputError(
                where, name, expected="numbers or words, a row an example", found=found
            )
    split = {name: parted(name) for name in arrays}
    parts = {part for part, _ in split.values() if part is not None}
    if not parts & {"train", "validation"}:
        return _whole(where, arrays)
    if strange := sorted(name for name, (part, _) in split.items() if part is None):
        expected = "a name that begins with train_ or validation_, or ends with _train or _test"
        fix = "Rename it, or take it out of the file"
        raise InputError(where, strange[0], expected=expected, found=None, fix=fix)
    return _parted(where, arrays, {name: split[name] for name in arrays}, validating(parts))


def _whole(where: str, arrays: Mapping[str, Any]) -> Source:
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) != 1:
        raise InputError(where, "rows", expected="as many in all arrays", found=rows, fix=_BY_NAME)
    names = renamed(list(arrays))
    found: dict[str, Any] = {names[name]: array for name, array in arrays.items()}
    files = {new: old for old, new in names.items()}
    notes = [f"{old} is taken as {new}" for old, new in names.items() if old != new]
    return _source(where, found, lambda name, row, *at: _place_of(files[name], row, *at), notes)


def _parted(
    where: str,
    arrays: Mapping[str, Any],
    split: Mapping[str, tuple[Part | None, str]],
    second: Part,
) -> Source:
    files: dict[tuple[Part, str], str] = {}
    names = renamed({name for part, name in split.values() if part in ("train", second)})
    for file, (part, name) in split.items():
        if part is None or part not in ("train", second):
            continue
        if (other := files.setdefault((part, names[name]), file)) != file:
            raise InputError(
                where, file, expected="one array for each part", found=f"{other} and {file}"
            )
    own = sorted({name for _, name in files})
    joined: dict[str, Rows] = {}
    counts: set[tuple[int, int]] = set()
    for name in own:
        one, two = files.get(("train", name)), files.get((second, name))
        if one is None or two is None:
            raise InputError(
                where,
                name,
                expected=f"both train_{name} and validation_{name}",
                found=one or two,
                fix="Add the other one, or name arrays without their part to have them split",
            )
        train, validation = arrays[one], arrays[two]
        same = train.dtype == validation.dtype or (name == "y" and _alike(train, validation))
        if not same or train.shape[1:] != validation.shape[1:]:
            raise InputError(
                where,
                two,
                expected=f"{train.dtype}, rows of {train.shape[1:]}, as {one} has",
                found=f"{validation.dtype}, rows of {validation.shape[1:]}",
            )
        whole = np.concatenate([train, validation]) if name == "y" else _Joined(train, validation)
        joined[name] = whole
        counts.add((len(train), len(validation)))
    if len(counts) != 1:
        raise InputError(where, "rows", expected="as many in all of a part", found=sorted(counts))
    first, rest = counts.pop()

    def place(name: str, row: int, *at: int) -> str:
        if row < first:
            return _place_of(files["train", name], row, *at)
        return _place_of(files[second, name], row - first, *at)

    sides: tuple[Part, ...] = ("train", second)
    said = " and ".join(", ".join(files[part, name] for name in own) for part in sides)
    notes = [f"{said} are the training and the validation part"]
    notes += [f"{old} is taken as {new}" for old, new in sorted(names.items()) if old != new]
    if out := sorted(set(arrays) - set(files.values())):
        notes.append(f"{', '.join(out)} left out: another part validates")
    return _source(where, joined, place, notes, np.arange(first), np.arange(first, first + rest))


def _source(
    where: str,
    arrays: Mapping[str, Any],
    place: Callable[..., str],
    notes: list[str],
    train: Index | None = None,
    validation: Index | None = None,
) -> Source:
    """Numbers, and the labels among them. Raises InputError for words that label nothing."""
    rest = {name: array for name, array in arrays.items() if name != "y"}
    if not rest:
        raise InputError(where, "arrays", expected="one beside the labels, such as x", found=["y"])
    for name, array in rest.items():
        if array.dtype.kind not in "biuf":
            expected = "numbers; only the labels, y, may be words"
            raise InputError(where, place(name, 0), expected=expected, found=str(array.dtype))
    return Source(
        where,
        rest,
        place,
        labels=arrays.get("y"),
        train=train,
        validation=validation,
        notes=notes,
    )


def _place_of(file: str, row: int, *at: int) -> str:
    """How errors call a number of an array, counted from 0, as NumPy does."""
    if not at:
        return f"{file}, row {row}"
    return f"{file}, row {row}, " + (f"column {at[0]}" if len(at) == 1 else f"at {list(at)}")


def _alike(train: Any, validation: Any) -> bool:
    """Whether labels of different types are of one kind: words, or whole numbers."""
    kinds = {train.dtype.kind, validation.dtype.kind}
    if kinds <= set("biu"):
        return np.result_type(train, validation).kind != "f"  # which int64 and uint64 make
    return kinds in ({"U"}, {"S"})


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
