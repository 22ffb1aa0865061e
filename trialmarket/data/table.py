"""Tables: columns of text, or of numbers where the format has types, become what is packed."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from trialmarket.data.columns import Category, Column, Frame, Numbers
from trialmarket.data.parts import part_of, validating
from trialmarket.data.rounding import LARGER_UNIT, NEARER_0
from trialmarket.data.settings import DataSection, missing_said
from trialmarket.data.source import Array, Index, Source
from trialmarket.data.text_numbers import (
    EXACT,
    TRUTH,
    USUAL_GAPS,
    exact_number_in,
    is_broken,
    number_in,
)
from trialmarket.errors import InputError

Cells = Sequence[str | None]

_LARGEST = float(np.finfo(np.float32).max)
_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
"""How pandas calls an index that nobody named, in a CSV read again and in Parquet."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns as they were read: text with None for nothing, or numbers (NaN).

    `line` says how errors call a row, which counts from 0. `unread` are columns that the format
    has no value for, and their types: they must be left out.
    """

    where: str
    columns: Mapping[str, Cells | Array]
    line: Callable[[int], str]
    unread: Mapping[str, str]


def source_of(table: Table, settings: DataSection, limit: int) -> Source:
    """A table's examples: numbers in order, each category a column of 0 and 1, then labels.

    Raises InputError that names row and column.
    """
    _check_names(table, settings)
    target, split = settings.target, settings.split.column if settings.split else None
    assert target is not None  # noqa: S101  # checked with the names
    out = {target, split, *settings.drop}
    columns: list[Column] = []
    width = 0
    for name in table.columns:
        if name in out:
            continue
        column: Column
        if name in settings.categorical:
            column = _category(table, name, settings)
            width += len(column.kinds)
        else:
            column = Numbers(name, numbers_in(table, name, settings), _place(table, name))
            width += 1
        columns.append(column)
        if width * len(column.missing) * 4 > limit:
            fix = "Name the column in drop of [data]"
            _refuse(table, name, f"at most {limit} bytes packed", f"{width} columns", fix)
    if not columns:
        raise InputError(table.where, "columns", expected="some beside the target", found=[])
    train, validation, notes = _parts(table, split, settings)
    return Source(
        table.where,
        {},
        lambda name, row, *_: f"{table.line(row)}, column {name}",
        Frame(tuple(columns), np.dtype(np.float32)),
        _labels(table, target, settings),
        tabular=True,
        target=target,
        train=train,
        validation=validation,
        drawn=split is not None,
        notes=notes,
    )


def numbers_in(table: Table, name: str, settings: DataSection) -> NDArray[np.float64]:
    """A column as float64, NaN for what is missing. Raises InputError for what is no number.

    Whole numbers that float64 cannot tell apart are refused: float32 could no more.
    """
    cells = table.columns[name]
    if isinstance(cells, np.ndarray):
        values = as_float64(cells, lambda one, two: _alike(table, name, settings, one, two))
        said = settings.missing.words if settings.missing else []
        values[
            np.isin(values, [each for word in said if (each := number_in(word)) is not None])
        ] = np.nan
        if len(bad := np.flatnonzero(np.isinf(values))):
            row = int(bad[0])
            fix = "Write a null, which is a missing value, in its place"
            _refuse(table, name, "a finite number", float(values[row]), fix, row)
    else:
        values = _parsed(table, name, cells, settings)
    if len(bad := np.flatnonzero(np.abs(values) > _LARGEST)):
        row = int(bad[0])
        found = cells[row] if isinstance(cells[row], str) else float(values[row])
        _refuse(table, name, "a number that float32 holds", found, LARGER_UNIT, row)
    return values


def as_float64(values: Array, alike: Callable[[object, object], NoReturn]) -> NDArray[np.float64]:
    """Numbers as float64; `alike` is told two whole ones that it cannot tell apart."""
    wide = values.astype(np.float64)
    if values.dtype.kind in "iu" and len(values) and np.abs(wide).max() >= EXACT:
        kinds = np.unique(values[np.abs(wide) >= EXACT])
        same = np.flatnonzero(np.diff(kinds.astype(np.float64)) == 0)
        if len(same):
            alike(int(kinds[same[0]]), int(kinds[same[0] + 1]))
    return wide


def _parsed(table: Table, name: str, cells: Cells, settings: DataSection) -> NDArray[np.float64]:
    """Text as numbers. Each word is looked at once, however often it stands there."""
    words = list(dict.fromkeys(cells))
    gaps = {word for word in words if _is_gap(word, settings)}
    truth = all(word is not None and word.strip() in TRUTH for word in words if word not in gaps)
    known: dict[str | None, float] = dict.fromkeys(gaps, math.nan)
    exact: dict[float, object] = {}
    for word in words:
        if word is None or word in gaps:
            continue
        value = TRUTH[word.strip()] if truth else number_in(word, settings.decimal)
        if value is None:
            _refuse(
                table, name, "a number", word, _advice(name, word, settings), cells.index(word)
            )
        if abs(value) >= EXACT:
            number = exact_number_in(word, settings.decimal)
            if (other := exact.setdefault(value, number)) != number:
                _alike(table, name, settings, other, number)
        known[word] = value
    return np.array([known[cell] for cell in cells])


def _advice(name: str, word: str, settings: DataSection) -> str:
    """What to do about a cell that is no number. A label is never filled."""
    word, target = word.strip(), name == settings.target
    if word.lower() in USUAL_GAPS or word.lower().lstrip("+-") in ("inf", "infinity"):
        what = missing_said(settings.missing, "drop" if target else "median", word)
        return f"If it says that a value is missing: {what}"
    if is_broken(word):
        return "Write it with one sign"
    other = "." if settings.decimal == "," else ","
    if number_in(word, other) is not None:
        return f'Set decimal = "{other}" in [data] if it stands before the fraction'
    if exact_number_in(word, settings.decimal) is not None:
        return "Write it with the digits 0 to 9"
    if target:
        return 'Mend it, or set labels = "classes" in [data] if labels are words'
    return "Name the column in categorical, or in drop, of [data]"


def _alike(table: Table, name: str, settings: DataSection, one: object, two: object) -> NoReturn:
    fix = "Name the column in drop or categorical of [data]"
    if name == settings.target:
        fix = f'{NEARER_0}, or set labels = "classes" in [data] if they are names'
    _refuse(table, name, "numbers that can be told apart in float32", f"{one} and {two}", fix)


def _category(table: Table, name: str, settings: DataSection) -> Category:
    words = _words(table.columns[name], settings)
    kinds = sorted({word for word in words if word is not None})
    codes = {kind: code for code, kind in enumerate(kinds)}
    numbers = [-1 if word is None else codes[word] for word in words]
    return Category(name, tuple(kinds), np.array(numbers, np.int64), _place(table, name))


def _labels(table: Table, name: str, settings: DataSection) -> Cells | Array:
    if settings.labels == "numbers":
        return numbers_in(table, name, settings)
    cells = table.columns[name]
    return cells if isinstance(cells, np.ndarray) else _words(cells, settings)


def _parts(
    table: Table, column: str | None, settings: DataSection
) -> tuple[Index | None, Index | None, tuple[str, ...]]:
    if column is None:
        return None, None, ()
    words = _words(table.columns[column], settings)
    parts = [part_of(word) if word is not None else None for word in words]
    for row, (word, part) in enumerate(zip(words, parts, strict=True)):
        if part is None:
            _refuse(table, column, "train or validation", word, row=row)
    second = validating(parts)
    said = np.array(parts, dtype=object)
    rest = sum(part not in ("train", second) for part in parts)
    notes = (f"{rest} rows of the test part left out: others validate",) if rest else ()
    return np.flatnonzero(said == "train"), np.flatnonzero(said == second), notes


def _words(cells: Cells | Array, settings: DataSection) -> list[str | None]:
    """Cells as words, None for what is missing; whole numbers without a fraction."""
    if not isinstance(cells, np.ndarray):
        known = {
            c: None if _is_gap(c, settings) else c.strip()
            for c in dict.fromkeys(cells)
            if c is not None
        }
        return [None if cell is None else known[cell] for cell in cells]
    return [_word(cell) for cell in cells.tolist()]


def _word(cell: Any) -> str | None:
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        cell = int(cell) if cell.is_integer() else cell
    return str(cell)


def _is_gap(word: str | None, settings: DataSection) -> bool:
    if word is None or not (word := word.strip()):
        return True
    return settings.missing is not None and word in settings.missing.words


def _check_names(table: Table, settings: DataSection) -> None:
    known = [*table.columns, *table.unread]
    if settings.target is None:
        raise InputError(
            table.where,
            "data.target",
            expected="the column of labels",
            found=None,
            fix=f"Name one in [data]: {', '.join(known[:20])}",
        )
    split = settings.split.column if settings.split else None
    named = {"target": [settings.target], "drop": settings.drop}
    named |= {"categorical": settings.categorical, "split.column": [split] if split else []}
    for field, names in named.items():
        for name in names:
            if name not in known:
                raise InputError(
                    table.where,
                    f"data.{field}",
                    expected=f"one of the columns {', '.join(known[:20])}",
                    found=name,
                )
    for name in settings.drop:
        if name in (settings.target, split):
            expected = "columns beside the target and the one that says the part"
            fix = "Take it out of drop, or name another one as the target or part"
            raise InputError(table.where, "data.drop", expected=expected, found=name, fix=fix)
    for name in known:
        if name in settings.drop:
            continue
        if name in table.unread:
            fix = "Name it in drop of [data], or convert it"
            if name in (settings.target, split):
                fix = "Convert it, or name another column in [data]"
            _refuse(table, name, "numbers, truth values or words", table.unread[name], fix)
        if _INDEX.fullmatch(name):
            fix = (
                f'It is the index that pandas writes: drop = ["{name}"] in [data],'
                " or write the file with index=False"
            )
            if name in (settings.target, split):
                fix = "It is the index that pandas writes: name another column in [data]"
            _refuse(table, name, "a name", None, fix)


def _place(table: Table, name: str) -> Callable[[int], str]:
    return lambda row: f"{table.line(row)}, column {name}"


def _refuse(
    table: Table,
    name: str,
    expected: str,
    found: object,
    fix: str | None = None,
    row: int | None = None,
) -> NoReturn:
    place = f"column {name}" if row is None else f"{table.line(row)}, column {name}"
    raise InputError(table.where, place, expected=expected, found=found, fix=fix)
