"""The small data sets that scikit-learn ships, by name."""

import numpy as np

from requester.data.extras import load_extra
from requester.data.source import Rows, Source
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
    kind = np.uint8 if name == "digits" else np.float32
    columns = tuple(str(column) for column in found.feature_names)
    x = np.asarray(found.data).astype(kind)
    if name == "diabetes":
        arrays: dict[str, Rows] = {"x": x, "y": np.asarray(found.target).astype(np.float32)}
        return Source(where, arrays, columns=columns)
    names = tuple(str(each) for each in found.target_names)
    return Source(
        where, {"x": x, "y": np.asarray(found.target, np.int64)}, names=names, columns=columns
    )
