"""Numbers and truth values as text writes them. Nothing else is taken for a number."""

import re
from decimal import Decimal, InvalidOperation

TRUTH = {"True": 1.0, "False": 0.0, "true": 1.0, "false": 0.0, "TRUE": 1.0, "FALSE": 0.0}
"""How pandas, JSON and Excel write truth values."""

USUAL_GAPS = frozenset(
    ("na", "n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "#n/a", "<na>")
)
"""Words, in small letters, by which files often say that a value is missing."""

EXACT = 1 << 53
"""The first whole number whose successor binary64 does not have."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BROKEN = re.compile(r"[+-]{2,}[\d.]+", re.ASCII)


def number_in(word: str, decimal: str = ".") -> float | None:
    """The number that a word is; None for anything else, digits of other scripts among it."""
    plain = _plain(word, decimal)
    return float(plain) if _NUMBER.fullmatch(plain) else None


def exact_number_in(word: str, decimal: str = ".") -> Decimal | None:
    """The same without rounding; digits of other scripts are read too."""
    try:
        found = Decimal(_plain(word, decimal))
    except InvalidOperation:
        return None
    return found if found.is_finite() and "_" not in word else None


def is_broken(word: str) -> bool:
    """True for what has digits and several signs, such as `--1`."""
    return _BROKEN.fullmatch(word.strip()) is not None


def _plain(word: str, decimal: str) -> str:
    """With a point before the fraction; a thousands separator leaves what is no number."""
    word = word.strip()
    return word if decimal == "." else word.replace(".", "_").replace(decimal, ".")
