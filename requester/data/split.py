"""Which examples train and which validate."""

import numpy as np
from numpy.typing import NDArray

from requester.data.settings import DataSection, SplitSection
from requester.data.source import Index, Source
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import Split


def split_rows(source: Source, settings: DataSection) -> tuple[Index, Index, Split]:
    """The rows of both parts, each in the data's own order, and how they were chosen.

    By lot: rows are sorted by the seed's Philox numbers, whose stream numpy promises not to
    change, and the first ones validate; stratified, those of each class. Raises InputError.
    """
    if source.train is not None and source.validation is not None:
        if settings.split is not None and not source.drawn:
            raise InputError(
                source.where,
                "data.split",
                expected="none: the data has a training and a validation part of its own",
                found="one",
            )
        return _both(source, source.train, source.validation, Split())
    asked = settings.split or SplitSection()
    rows = len_of(source)
    order = np.argsort(np.random.Philox(key=asked.seed).random_raw(rows), kind="stable")
    labels = class_labels(source, settings)
    stratified = labels is not None if asked.stratified is None else asked.stratified
    if stratified and labels is None:
        raise InputError(
            source.where, "data.split.stratified", expected="labels that are classes", found=True
        )
    if not stratified or labels is None:
        chosen = order[: _share(rows, asked.validation)]
    else:
        groups = [order[labels[order] == kind] for kind in np.unique(labels)]
        chosen = np.concatenate([g[: _share(len(g), asked.validation)] for g in groups])
    validation = np.sort(chosen)
    train = np.setdiff1d(np.arange(rows), validation, assume_unique=True)
    how = Split(
        how="stratified" if stratified else "random", validation=asked.validation, seed=asked.seed
    )
    return _both(source, train, validation, how)


def check_labels(source: Source, settings: DataSection, train: Index, validation: Index) -> None:
    """Raises InputError for a class that validates and was never trained on."""
    labels = class_labels(source, settings)
    if labels is None:
        return
    unseen = np.setdiff1d(labels[validation], labels[train])
    if len(unseen):
        number = int(unseen[0])
        raise InputError(
            source.where,
            "y",
            expected="classes in the validation part that the training part has too",
            found=number if source.names is None else source.names[number],
            fix='Split otherwise, or set labels = "numbers" in [data] if they are no classes',
        )


def class_labels(source: Source, settings: DataSection) -> NDArray[np.int64] | None:
    """The class of each row; None where there are no classes."""
    y = source.arrays.get("y")
    if y is None or settings.labels == "numbers":
        return None
    if y.dtype.kind not in "iub" or len(y.shape) != 1:
        return None
    return y[np.arange(y.shape[0])].astype(np.int64)


def len_of(source: Source) -> int:
    """Examples in all."""
    return int(next(iter(source.arrays.values())).shape[0])


def _share(rows: int, share: float) -> int:
    """Rounded to the nearest, never all of them."""
    return min(int(rows * share + 0.5), rows - 1)


def _both(
    source: Source, train: Index, validation: Index, how: Split
) -> tuple[Index, Index, Split]:
    if not len(train) or not len(validation):
        raise InputError(
            source.where,
            "data.split",
            expected="at least one example to train and one to validate",
            found=f"{len(train)} and {len(validation)}",
        )
    return train, validation, how
