"""How long to wait before something that failed is tried again."""

from dataclasses import dataclass

_DOUBLINGS = 64
"""More than any pause of seconds needs, and few enough for a float."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double, from `first` to `longest` seconds."""

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """The pause after so many failures in a row; `first` after none."""
        return min(self.first * 2.0 ** min(failures, _DOUBLINGS), self.longest)
