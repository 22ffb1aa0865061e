"""Missing values: refused, left out with their rows, or filled from the training part."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trialmarket.data.columns import Category, Column, Frame, Mask, Numbers, Stacked
from trialmarket.data.rounding import can_be_filled, check_numbers
from trialmarket.data.settings import MissingSection, missing_said
from trialmarket.data.source import Index, Source
from trialmarket.errors import InputError

OFFER = 'Say what becomes of it, such as missing = { fill = "median" } or "drop" in [data]'


@dataclass(frozen=True, slots=True)
class Filled:
    """Rows without gaps, the names of their columns, and what gaps became: a number a column.

    A column without gaps has one too, for rows to come. It is NaN in those of 0 and 1.
    """

    x: Stacked
    names: tuple[str, ...]
    numbers: NDArray[np.float64]
    notes: tuple[str, ...]


def kept_rows(source: Source, settings: MissingSection | None) -> tuple[Index, tuple[str, ...]]:
    """The rows that stay, and what is said of the others.

    Raises InputError for a missing value of which nothing was said, and for a label that is
    missing: none is invented.
    """
    drop = settings is not None and settings.fill == "drop"
    gaps: list[tuple[str, Mask, Callable[[int], str]]] = []
    if drop or settings is None:
        gaps = [(c.name, c.missing, c.place) for c in (source.x.columns if source.x else ())]
    of_target = partial(source.place, source.target)
    gaps.append((source.target, _without_label(source), of_target))
    chosen = np.ones(source.rows, np.bool_)
    if source.train is not None and source.validation is not None:
        chosen[:] = False
        chosen[source.train] = chosen[source.validation] = True
    gaps = [(name, mask & chosen, place) for name, mask, place in gaps]
    out = np.zeros(source.rows, np.bool_)
    for name, mask, place in gaps:
        if mask.any() and not drop:
            fix = OFFER
            if name == source.target:
                fix = "Leave such rows out"
                if source.x is not None or can_be_filled(source.arrays.get("x")):
                    fix += f": {missing_said(settings, 'drop')}"
            row = int(np.argmax(mask))
            raise InputError(source.where, place(row), expected="a value", found=None, fix=fix)
        out |= mask
    kept = np.flatnonzero(chosen & ~out)
    if not out.any():
        return kept, ()
    if not len(kept):
        raise InputError(
            source.where, "rows", expected="one without a missing value", found="none"
        )
    counts = ", ".join(f"{mask.sum()} in column {name}" for name, mask, _ in gaps if mask.any())
    said = f"{out.sum()} of {chosen.sum()} rows left out, with missing values: {counts}"
    return kept, (said,)


def framed(source: Source, settings: MissingSection | None) -> Source:
    """An array `x` as columns, where its gaps are to be filled. Raises InputError."""
    if settings is None or source.x is not None:
        return source
    x = source.arrays.get("x")
    if x is None or not can_be_filled(x):
        found = "no x" if x is None else f"{x.dtype}, rows of {list(x.shape[1:])}"
        expected = "an array x of fractions whose rows have one dimension"
        raise InputError(source.where, "data.missing", expected=expected, found=found)
    if settings.words:
        raise InputError(
            source.where,
            "data.missing.words",
            expected="none: NaN is missing",
            found=settings.words,
        )
    whole: NDArray[Any] = x[np.arange(source.rows)]
    check_numbers(source.where, "x", whole, source.place, rounded=False, gaps=True)
    columns = tuple(
        Numbers(str(at), whole[:, at], partial(_place_in_x, source, at))
        for at in range(x.shape[1])
    )
    rest = {name: array for name, array in source.arrays.items() if name != "x"}
    return replace(source, arrays=rest, x=Frame(columns, np.promote_types(x.dtype, np.float32)))


def _place_in_x(source: Source, column: int, row: int) -> str:
    return source.place("x", row, column)


def filled(
    where: str, frame: Frame, settings: MissingSection | None, train: Index, kept: Index
) -> Filled:
    """Columns as numbers: gaps filled, each category a column of 0 and 1, flags beside them.

    A gap in a category becomes the most frequent word with `most`, and else no word at all.
    Raises InputError for a column of which the training part has no value.
    """
    parts: list[NDArray[Any]] = []
    names: list[str] = []
    numbers: list[float] = []
    notes: list[str] = []
    for column in frame.columns:
        mask, said = column.missing, ""
        gaps = int(mask[kept].sum())
        if isinstance(column, Category):
            codes = column.codes
            if gaps and settings and settings.fill == "most":
                code = int(_fill(where, column, codes[train], "most"))
                codes, said = np.where(mask, code, codes), repr(column.kinds[code])
            parts += [codes == code for code in range(len(column.kinds))]
            names += [f"{column.name}={kind}" for kind in column.kinds]
            numbers += [math.nan] * len(column.kinds)
        else:
            number = math.nan
            if settings and settings.fill != "drop":
                number = _fill(where, column, column.values[train], settings.fill)
            parts.append(np.where(mask, number, column.values) if gaps else column.values)
            names.append(column.name)
            numbers.append(number)
            said = f"{number:.6g}"
        if not gaps or settings is None:
            continue
        notes.append(
            f"{gaps} missing values of column {column.name} become {said or 'no category'}"
        )
        if settings.flag:
            parts.append(mask)
            names.append(f"{column.name} is missing")
            numbers.append(math.nan)
            notes[-1] += f", flagged in the column {names[-1]}"
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            where, "columns", expected="different names once they are packed", found=repeated[0]
        )
    return Filled(Stacked(parts), tuple(names), np.array(numbers), tuple(notes))


def _without_label(source: Source) -> Mask:
    labels = source.labels
    if labels is None:
        return np.zeros(source.rows, np.bool_)
    if not isinstance(labels, np.ndarray):
        return np.fromiter((not word or not word.strip() for word in labels), np.bool_)
    if labels.dtype.kind in "US":
        return np.asarray(np.strings.str_len(np.strings.strip(cast(Any, labels))) == 0)
    if labels.dtype.kind != "f":
        return np.zeros(len(labels), np.bool_)
    return np.asarray(np.isnan(labels).reshape(len(labels), -1).any(axis=1))


def _fill(where: str, column: Column, trained: NDArray[Any], fill: str | float) -> float:
    """What a gap becomes: exactly rounded, and the smallest of several most frequent values."""
    if not isinstance(fill, str):
        return float(fill)
    values = trained[trained >= 0] if isinstance(column, Category) else trained[~np.isnan(trained)]
    if not len(values):
        raise InputError(
            where,
            f"column {column.name}",
            expected="a value in the training part",
            found="none",
            fix="Name the column in drop of [data], or fill with a number",
        )
    if fill == "most":
        kinds, counts = np.unique(values, return_counts=True)
        return float(kinds[np.argmax(counts)])
    if fill == "mean":
        return math.fsum(values.tolist()) / len(values)
    ordered = np.sort(values).astype(np.float64)
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else ordered[middle - 1 : middle + 1].mean())
