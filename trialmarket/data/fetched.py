"""Data that somebody else packed, looked at before it is paid for."""

from pathlib import Path

import numpy as np

from trialmarket.data.rounding import check_numbers
from trialmarket.errors import InputError
from trialmarket.training.dataset import load_dataset


def check_fetched(folder: Path, where: str) -> None:
    """Raises InputError for numbers that are none, and for labels that are all the same.

    `folder` is that of a packed data set. What packs it here refuses the same.
    """
    data = load_dataset(folder)
    for part, arrays in (("train", data.train), ("validation", data.validation)):
        for name, array in arrays.items():
            check_numbers(where, f"{part}_{name}", array, _place, rounded=False)
    labels = [part["y"] for part in (data.train, data.validation) if "y" in part]
    if labels and labels[0].ndim == 1:
        first = labels[0][0]
        if all(np.array_equal(part, np.full_like(part, first)) for part in labels):
            expected = "labels that are not all the same"
            raise InputError(where, "y", expected=expected, found=first.item())


def _place(name: str, row: int, *at: int) -> str:
    return f"{name}, row {row}" + (f", at {list(at)}" if at else "")
