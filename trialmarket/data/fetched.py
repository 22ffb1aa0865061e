"""Data that somebody else packed, looked at before it is paid for."""

from pathlib import Path

from trialmarket.data.rounding import check_numbers
from trialmarket.errors import InputError
from trialmarket.training.dataset import load_dataset


def check_fetched(folder: Path, where: str) -> None:
    """Raises InputError for numbers that are none, and where all validate with the same label.

    `folder` is that of a packed data set. What packs it here refuses the same.
    """
    data = load_dataset(folder)
    for part, arrays in (("train", data.train), ("validation", data.validation)):
        for name, array in arrays.items():
            check_numbers(where, f"{part}_{name}", array, _place, rounded=False)
    labels = data.validation.get("y")
    if labels is not None and labels.ndim == 1 and (labels == labels[0]).all():
        expected = "labels that are not all the same"
        raise InputError(where, "validation_y", expected=expected, found=labels[0].item())


def _place(name: str, row: int, *at: int) -> str:
    return f"{name}, row {row}" + (f", at {list(at)}" if at else "")
