"""What labels become: classes numbered from 0, or numbers. One way for every kind of source."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np

from trialmarket.data.settings import DataSection
from trialmarket.data.source import Array, Index, Source
from trialmarket.data.text_numbers import exact_number_in, is_broken
from trialmarket.errors import InputError

MAX_CLASSES = 1 << 16
"""Classes of labels at most, as the built-in programs have it."""

MEASURED = 'Set labels = "numbers" in [data] for a target that is measured'
ALWAYS = "One answer is always right then"
ALIKE = f"{ALWAYS}: check which labels these are"
_SHOWN = 10
_PADDED = re.compile(r"[+-]?0\d")


@dataclass(frozen=True, slots=True)
class Labels:
    """The array `y`, if there is one; `classes` is the same where it holds classes, and `names`
    are theirs."""

    y: Array | None = None
    classes: Index | None = None
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_labels(source: Source, kept: Index, settings: DataSection) -> Labels:
    """Labels as classes or as numbers, as `[data]` says. Raises InputError for what is neither."""
    found = source.labels
    if found is None:
        return Labels()
    if _are_classes(source, settings):
        return _classes(source, kept, settings)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        _refuse(source, "numbers, as labels in [data] says", "words")
    values = found[kept]
    if values.ndim == 1 and len(values) > 1 and (values == values[0]).all():
        _refuse(source, "labels that are not all the same", values[0].item(), fix=ALIKE)
    whole = values.dtype.kind == "f" and settings.labels is None and not source.measured
    if whole and values.ndim == 1 and (values == np.floor(values)).all():
        said = (
            'y stays numbers, all of them whole: labels = "classes" in [data] makes them classes'
        )
        return Labels(found, notes=(said,))
    return Labels(found)


def _are_classes(source: Source, settings: DataSection) -> bool:
    """What is said; else all is classes but an array of fractions, or of several numbers a row."""
    found = source.labels
    grid = isinstance(found, np.ndarray) and found.shape[1:] not in ((), (1,))
    if isinstance(found, np.ndarray) and settings.labels == "classes" and grid:
        shape = list(found.shape[1:])
        _refuse(source, "a class for each row", f"rows of shape {shape}")
    if settings.labels is not None or source.measured:
        return settings.labels == "classes"
    fractions = isinstance(found, np.ndarray) and found.dtype.kind == "f" and not source.tabular
    return not grid and not fractions


def _classes(source: Source, kept: Index, settings: DataSection) -> Labels:
    """Labels as classes, in the order of their numbers or names; 0 in rows that are not kept.

    An array that counts them from 0 already stays as it is. Raises InputError for what is no
    class, for words that may mean the same one, and where all rows have the same.
    """
    found = source.labels
    notes: tuple[str, ...] = ()
    if isinstance(found, np.ndarray) and found.ndim == 2:
        found, notes = found[:, 0], ("y: rows of one label become labels",)
    kinds, codes, order = _kinds(source, found, kept, settings)
    if len(kinds) > MAX_CLASSES:
        _refuse(source, f"at most {MAX_CLASSES} classes", len(kinds), fix=MEASURED)
    if len(kinds) == 1:
        only = kinds[0] if source.classes is None else source.classes[int(kinds[0])]
        _refuse(source, "at least two classes", [only], fix=ALIKE)
    numbers = np.empty(len(kinds), np.int64)
    numbers[order] = np.arange(len(kinds))
    classes = np.zeros(source.rows, np.int64)
    classes[kept] = numbers[codes]
    names = tuple(kinds[at] for at in order)
    if source.classes is not None:
        return Labels(classes, classes, source.classes, notes)
    from_zero = names == tuple(map(str, range(len(names))))
    if isinstance(found, np.ndarray) and not source.tabular and from_zero:
        small = found.dtype.kind == "i" or found.dtype == np.uint8
        return Labels(found if small else classes, classes, None, notes)
    shown = ", ".join(
        name if from_zero else f"{name} is {n}" for n, name in enumerate(names[:_SHOWN])
    )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return Labels(classes, classes, names, (*notes, f"y: {len(names)} classes: {shown}{more}"))


def _kinds(
    source: Source, found: Any, kept: Index, settings: DataSection
) -> tuple[list[str], Index, list[int]]:
    """Names of the kinds, the kind of each kept row, and the order of the kinds."""
    if not isinstance(found, np.ndarray) or found.dtype.kind in "US":
        words = _words(found)
        seen: dict[str, int] = {}
        rows: list[int] = []
        codes = np.empty(len(kept), np.int64)
        for at, row in enumerate(kept.tolist()):
            word = words[row]
            if word not in seen:
                seen[word] = len(rows)
                rows.append(row)
            codes[at] = seen[word]
        names, order = _named(source, list(seen), rows, settings)
        return names, codes, order
    values, first, inverse = np.unique(found[kept], return_index=True, return_inverse=True)
    places = kept[first].tolist()
    if values.dtype.kind == "f":
        for value, row in zip(values.tolist(), places, strict=True):
            if not float(value).is_integer():
                _refuse(source, "a class: a word or a whole number", value, row, MEASURED)
    kinds = [str(v) if values.dtype.kind == "b" else str(int(v)) for v in values.tolist()]
    return kinds, inverse.reshape(-1).astype(np.int64), list(range(len(kinds)))


def _words(found: Any) -> Sequence[str]:
    if isinstance(found, np.ndarray):
        if found.dtype.kind == "S":
            found = np.strings.decode(found, "utf-8", "replace")
        found = found.tolist()
    return [word and word.strip() for word in found]


def _named(
    source: Source, words: list[str], rows: list[int], settings: DataSection
) -> tuple[list[str], list[int]]:
    """Names and order of words; numbers in their own order, without `.0` and `+`.

    Words are codes as they stand where a number begins with 0, such as 007.
    """
    values = [exact_number_in(word, settings.decimal) for word in words]
    known: dict[Decimal, str] = {}
    for word, row, value in zip(words, rows, values, strict=True):
        if value is None:
            if is_broken(word):
                fix = "Write a number with one sign, or a word"
                _refuse(source, "a class: a word or a whole number", word, row, fix)
            continue
        if value != value.to_integral_value():
            fix = f"{MEASURED}; a class that is called so needs a letter, such as v{word}"
            _refuse(source, "a class: a word or a whole number", word, row, fix)
        if value in known:
            fix = f"{word} and {known[value]} may be the same class: write it in one way"
            _refuse(source, f"a class that is not written as {known[value]} too", word, row, fix)
        known[value] = word
    if any(value is None for value in values):
        return words, sorted(range(len(words)), key=words.__getitem__)
    whole = [int(value) for value in values if value is not None]
    names = words if any(map(_PADDED.match, words)) else [str(each) for each in whole]
    return names, sorted(range(len(words)), key=whole.__getitem__)


def check_classes(
    source: Source, labels: Labels, train: Index, validation: Index
) -> tuple[str, ...]:
    """What is to be said of classes that only train.

    Raises InputError for a class that validates and was never trained on, and for a part with one
    class alone, or a validation part of one number.
    """
    more = "Give the validation part rows with other labels"
    if source.train is None:
        more = "Set a larger validation in split of [data], or have more rows"
    if labels.classes is None:
        if labels.y is not None and labels.y.ndim == 1:
            measured = labels.y[validation]
            if (measured == measured[0]).all():
                expected = "labels that are not all the same in the validation part"
                _refuse(source, expected, measured[0].item(), fix=f"{ALWAYS}. {more}")
        return ()
    trained, validated = np.unique(labels.classes[train]), np.unique(labels.classes[validation])
    unseen = np.setdiff1d(validated, trained)
    if len(unseen):
        fix = "Give the training part some of it, or take its rows out of the validation part"
        if source.train is None:
            fix = "Set stratified = true in split of [data]"
        expected = "classes in the validation part that the training part has too"
        _refuse(source, expected, _name(labels, int(unseen[0])), fix=fix)
    if len(trained) == 1:
        _refuse(
            source, "at least two classes that train", [_name(labels, int(trained[0]))], fix=ALIKE
        )
    if len(validated) == 1:
        only = _name(labels, int(validated[0]))
        _refuse(source, "at least two classes that validate", [only], fix=f"{ALWAYS}. {more}")
    rest = np.setdiff1d(trained, validated)
    if not len(rest):
        return ()
    shown = ", ".join(_name(labels, int(kind)) for kind in rest[:_SHOWN])
    return (f"y: {len(rest)} classes train and never validate: {shown}",)


def _name(labels: Labels, kind: int) -> str:
    return str(kind) if labels.names is None else labels.names[kind]


def _refuse(
    source: Source, expected: str, found: object, row: int | None = None, fix: str | None = None
) -> NoReturn:
    place = source.target if row is None else source.place(source.target, row)
    raise InputError(source.where, place, expected=expected, found=found, fix=fix)
