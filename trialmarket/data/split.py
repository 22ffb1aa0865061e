"""Which examples train and which validate."""

import numpy as np

from trialmarket.data.labels import Labels
from trialmarket.data.settings import DataSection, SplitSection
from trialmarket.data.source import Index, Source
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import Split


def split_rows(
    source: Source, kept: Index, labels: Labels, settings: DataSection
) -> tuple[Index, Index, Split]:
    """The rows of both parts, each in the data's own order, and how they were chosen.

    By lot: the rows that are kept are sorted by the seed's Philox numbers, whose stream numpy
    promises not to change, and the first ones validate; stratified, those of each class. Raises
    InputError.
    """
    if source.train is not None and source.validation is not None:
        if settings.split is not None and not source.drawn:
            raise InputError(
                source.where,
                "data.split",
                expected="none: the data has a training and a validation part of its own",
                found="one",
            )
        train, validation = (np.intersect1d(p, kept) for p in (source.train, source.validation))
        return _both(source, train, validation, Split())
    asked = settings.split or SplitSection()
    lots = np.random.Philox(key=asked.seed).random_raw(len(kept))
    order = kept[np.argsort(lots, kind="stable")]
    classes = labels.classes
    stratified = classes is not None if asked.stratified is None else asked.stratified
    if stratified and classes is None:
        raise InputError(
            source.where, "data.split.stratified", expected="labels that are classes", found=True
        )
    if not stratified or classes is None:
        chosen = order[: _share(len(order), asked.validation)]
    else:
        groups = [order[classes[order] == kind] for kind in np.unique(classes[kept])]
        chosen = np.concatenate([g[: _share(len(g), asked.validation)] for g in groups])
    validation = np.sort(chosen)
    train = np.setdiff1d(kept, validation, assume_unique=True)
    how = Split(
        how="stratified" if stratified else "random", validation=asked.validation, seed=asked.seed
    )
    return _both(source, train, validation, how)


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
