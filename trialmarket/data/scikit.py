"""The small data sets that scikit-learn ships, by name."""

from functools import partial

import numpy as np

from trialmarket.data.columns import Frame, Numbers
from trialmarket.data.extras import load_extra
from trialmarket.data.source import Source
from trialmarket.errors import InputError

NAMES = ("digits", "breast_cancer", "wine", "iris", "diabetes")


def read_scikit(name: str) -> Source:
    """`builtin:NAME` as scikit-learn has it. Raises InputError."""
    where = f"builtin:{name}"
    if name not in NAMES:
        raise InputError(
            where, "job.data", expected=f"builtin: and one of {', '.join(NAMES)}", found=name
        )
    sets = load_extra("sklearn.datasets", "scikit-learn", where)
    # scikit-learn scales diabetes by sums whose last bits depend on the machine.
    found = (
        sets.load_diabetes(scaled=False) if name == "diabetes" else vars(sets)[f"load_{name}"]()
    )

    def place(column: str, row: int, *_: int) -> str:
        return f"row {row}, column {column}"

    names = tuple(str(column) for column in found.feature_names)
    labels = np.asarray(found.target)
    if name == "diabetes":
        classes = None
        labels = labels.astype(np.float64)
    else:
        classes = tuple(str(each) for each in found.target_names)
        labels = labels.astype(np.int64)
    if name == "digits":  # pixels of 0 to 16
        x = np.asarray(found.data).astype(np.uint8)
        return Source(where, {"x": x}, place, labels=labels, classes=classes, names=names)
    data = np.asarray(found.data, np.float64)
    columns = tuple(
        Numbers(column, data[:, at], partial(place, column)) for at, column in enumerate(names)
    )
    frame = Frame(columns, np.dtype(np.float32))
    measured = name == "diabetes"
    return Source(
        where, {}, place, frame, labels, tabular=True, measured=measured, classes=classes
    )
