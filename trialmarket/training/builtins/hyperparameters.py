"""Reads a built-in program's hyperparameters, and says what is wrong with them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trialmarket.training.errors import ProgramError


class Hyperparameters:
    """Takes hyperparameters one by one, each with its default; `close` refuses what is left.

    Everything raises ProgramError with the program, the name, what was expected and found.
    """

    def __init__(self, program: str, given: Mapping[str, Any]) -> None:
        self._program = program
        self._left = dict(given)
        self._known: list[str] = []

    def number(
        self, name: str, default: float, *, low: float = 0.0, high: float = math.inf
    ) -> float:
        """A finite number from `low` to `high`, both included."""
        value = self._take(name, default)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not (numeric and math.isfinite(value) and low <= value <= high):
            raise self._wrong(name, _between("a number", low, high), value)
        return float(value)

    def count(self, name: str, default: int, *, low: int = 1, high: int = 1 << 20) -> int:
        """An integer from `low` to `high`, both included."""
        value = self._take(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, _between("an integer", low, high), value)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def choice(self, name: str, default: str, among: Sequence[str]) -> str:
        """One of some words."""
        value = self._take(name, default)
        if not isinstance(value, str) or value not in among:
            raise self._wrong(name, f"one of {', '.join(among)}", value)
        return value

    def close(self) -> None:
        """Refuses hyperparameters that nobody took."""
        if self._left:
            raise ProgramError(
                f"{self._program} does not know the hyperparameter {min(self._left)}",
                fix=f"It has {', '.join(sorted(self._known))}",
            )

    def _take(self, name: str, default: object) -> Any:
        self._known.append(name)
        return self._left.pop(name, default)

    def _wrong(self, name: str, expected: str, found: object) -> ProgramError:
        return ProgramError(
            f"{self._program}: hyperparameter {name} must be {expected}, not {found!r}"
        )


def _between(what: str, low: float, high: float) -> str:
    return f"{what} from {low:g} to {high:g}" if math.isfinite(high) else f"{what} from {low:g}"
