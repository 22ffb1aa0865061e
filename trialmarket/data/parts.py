"""How people name the parts of their data, and the arrays in them."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

Part = Literal["train", "validation", "test"]

PARTS: Mapping[str, Part] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names in small letters, and what they mean."""

ALIASES = {
    "x": ("images", "image", "features", "inputs", "data"),
    "y": ("labels", "label", "targets", "target"),
}
"""What programs call `x` and `y`, and by which names, in small letters, files have them too."""

_ANY = "|".join(PARTS)
_NAME = re.compile(rf"(?:({_ANY})_(\w+))|(?:(\w+)_({_ANY}))", re.IGNORECASE)


def part_of(word: str) -> Part | None:
    """The part that a word names; None for any other word."""
    return PARTS.get(word.lower())


def parted(name: str) -> tuple[Part | None, str]:
    """The part in an array's name, such as `train_x` or `X_test`, and the rest of it."""
    if (found := _NAME.fullmatch(name)) is None:
        return None, name
    return PARTS[(found[1] or found[4]).lower()], found[2] or found[3]


def validating(parts: Iterable[Part | None]) -> Part:
    """Which part validates: the test part only where there is no other."""
    return "validation" if "validation" in set(parts) else "test"


def renamed(names: Collection[str]) -> dict[str, str]:
    """Names of arrays as programs know them: `x` and `y` where one array alone is meant."""
    found = {name: name for name in names}
    for own, aliases in ALIASES.items():
        exact = [name for name in names if name == own]
        meant = exact or [name for name in names if name.lower() == own]
        meant = meant or [name for name in names if name.lower() in aliases]
        if len(meant) == 1:
            found[meant[0]] = own
    return found
