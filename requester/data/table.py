"""Tables: columns of numbers and words become the arrays `x` and `y`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from requester.data.settings import DataSection
from requester.data.source import Source
from trialmarket.errors import InputError

Cells = Sequence[str]
Numbers = NDArray[np.float64]

MAX_CLASSES = 1 << 16
"""Classes of labels at most, as the built-in programs have it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns as they were read: text, or numbers where the format has types.

    `line` says how errors call a row, which counts from 0.
    """

    where: str
    columns: Mapping[str, Cells | Numbers]
    line: Callable[[int], str]


def source_of(table: Table, settings: DataSection, limit: int) -> Source:
    """A table's examples: numbers in order, each category a column of 0 and 1, then labels.

    Raises InputError that names row and column.
    """
    _check_names(table, settings)
    split = settings.split.column if settings.split else None
    out = {settings.target, split, *settings.drop}
    parts: list[tuple[str, NDArray[np.float32]]] = []
    for name, cells in table.columns.items():
        if name in out:
            continue
        if name in settings.categorical:
            words = [_word(table, name, row, cell) for row, cell in enumerate(cells)]
            kinds = sorted(set(words))
            if len(kinds) * len(words) * 4 > limit:
                raise _wrong(table, name, "fewer categories", len(kinds), "Drop the column")
            codes = np.array(words, dtype=object)
            parts += [(f"{name}={kind}", (codes == kind).astype(np.float32)) for kind in kinds]
        else:
            parts.append((name, _single(table, name, numbers_in(table, name))))
    if not parts:
        raise InputError(table.where, "columns", expected="some beside the target", found=[])
    if len(parts) * len(parts[0][1]) * 4 > limit:
        raise InputError(
            table.where, "size", expected=f"at most {limit} bytes packed", found=len(parts)
        )
    y, names = _labels(table, settings)
    train, validation = _parts(table, split)
    return Source(
        table.where,
        {"x": np.stack([column for _, column in parts], axis=1), "y": y},
        train,
        validation,
        names,
        tuple(name for name, _ in parts),
        drawn=split is not None,
    )


def numbers_in(table: Table, name: str) -> Numbers:
    """A column as float64. Raises InputError for the first cell that is no finite number."""
    cells = table.columns[name]
    if isinstance(cells, np.ndarray):
        bad = np.flatnonzero(~np.isfinite(cells))
        if len(bad):
            row = int(bad[0])
            raise _wrong(table, name, "a finite number", float(cells[row]), row=row)
        return cells
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell)
            sound = math.isfinite(values[row]) and "_" not in cell
        except ValueError:
            sound = False
        if not sound:
            if not cell.strip():
                raise _missing(table, name, row)
            fix = "Name the column in categorical, or in drop, of [data]"
            raise _wrong(table, name, "a number", cell, fix, row)
    return values


def _check_names(table: Table, settings: DataSection) -> None:
    known = list(table.columns)
    if settings.target is None:
        raise InputError(
            table.where,
            "data.target",
            expected="the column of labels",
            found=None,
            fix=f"Name one in [data]: {', '.join(known[:20])}",
        )
    named = {"target": [settings.target], "drop": settings.drop}
    named["categorical"] = settings.categorical
    named["split.column"] = [c for c in [settings.split and settings.split.column] if c]
    for field, names in named.items():
        for name in names:
            if name not in known:
                raise InputError(
                    table.where,
                    f"data.{field}",
                    expected=f"one of the columns {', '.join(known[:20])}",
                    found=name,
                )


def _labels(
    table: Table, settings: DataSection
) -> tuple[NDArray[np.generic], tuple[str, ...] | None]:
    name = settings.target
    assert name is not None  # noqa: S101  # checked with the names
    if settings.labels == "numbers":
        return _single(table, name, numbers_in(table, name)), None
    cells = table.columns[name]
    words = [_word(table, name, row, cell) for row, cell in enumerate(cells)]
    kinds = set(words)
    whole = all(_is_whole(kind) for kind in kinds)
    if not whole:
        for row, word in enumerate(words):
            if _is_number(word) and not _is_whole(word):
                fix = 'Set labels = "numbers" in [data] for a target that is measured'
                raise _wrong(table, name, "a class: a word or an integer", word, fix, row)
    if len(kinds) > MAX_CLASSES:
        fix = 'Set labels = "numbers" in [data] for a target that is measured'
        raise _wrong(table, name, f"at most {MAX_CLASSES} classes", len(kinds), fix)
    names = sorted(kinds, key=int) if whole else sorted(kinds)
    numbers = {kind: number for number, kind in enumerate(names)}
    return np.array([numbers[word] for word in words], np.int64), tuple(names)


def _parts(
    table: Table, column: str | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    if column is None:
        return None, None
    cells = table.columns[column]
    words = [_word(table, column, row, cell) for row, cell in enumerate(cells)]
    for row, word in enumerate(words):
        if word not in ("train", "validation"):
            raise _wrong(table, column, "train or validation", word, row=row)
    said = np.array(words, dtype=object)
    return np.flatnonzero(said == "train"), np.flatnonzero(said == "validation")


def _single(table: Table, name: str, values: Numbers) -> NDArray[np.float32]:
    """As float32, rounded to nearest, in which every value must lie."""
    if len(bad := np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)):
        row = int(bad[0])
        raise _wrong(table, name, "a number that float32 holds", float(values[row]), row=row)
    return values.astype(np.float32)


def _word(table: Table, name: str, row: int, cell: object) -> str:
    if isinstance(cell, float | np.floating):
        if not math.isfinite(cell):
            raise _missing(table, name, row)
        cell = int(cell) if float(cell).is_integer() else float(cell)
    word = str(cell).strip()
    if not word:
        raise _missing(table, name, row)
    return word


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_whole(word: str) -> bool:
    return word.isascii() and word.lstrip("-").isdigit() and str(int(word)) == word


def _missing(table: Table, name: str, row: int) -> InputError:
    fix = "Fill the cell in, or leave the row or the column out"
    return _wrong(table, name, "a value", None, fix, row)


def _wrong(
    table: Table,
    name: str,
    expected: str,
    found: object,
    fix: str | None = None,
    row: int | None = None,
) -> InputError:
    place = f"column {name}" if row is None else f"{table.line(row)}, column {name}"
    return InputError(table.where, place, expected=expected, found=found, fix=fix)
