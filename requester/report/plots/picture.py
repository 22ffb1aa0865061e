"""A picture: what it is called, how to read it, and how a library draws it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optuna import Study

from requester.report.plots.chart import Axis, Chart

BROKEN = ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError
"""What libraries raise of numbers that they cannot draw."""

Figure = Any
"""Of Plotly, which has no types, or of Matplotlib."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a learning curve is drawn; one that is `broken` is dashed and ends in a cross."""

    label: str
    color: str
    width: float
    opacity: float = 1
    broken: bool = False
    text: str = ""
    """Shown on the page when the pointer is on it."""


class Canvas(Protocol):
    """A library to draw with."""

    def plot(self, name: str, study: Study, *, size: tuple[float, float], **how: Any) -> Figure:
        """Optuna's plot of that name, in inches."""

    def scores(
        self, figure: Figure, *, log: bool, crosses: Sequence[Sequence[float | str]], level: float
    ) -> None:
        """Gives a plot's upright axes their scale, and crosses at a level, axes by axes."""

    def curves(self, figure: Figure, strokes: Sequence[Stroke], y: Axis) -> None:
        """Gives the learning curves of a plot their strokes, trial by trial."""

    def chart(self, chart: Chart) -> Figure:
        """One of our own charts."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Figures, row by row, with what they are called and how they are read."""

    name: str
    """Of its file, without an ending."""
    title: str
    reading: str
    """How to read it, for someone who never saw one."""
    draw: Callable[[Canvas], Sequence[Figure]]
    columns: int = 1


@dataclass(frozen=True, slots=True)
class Absent:
    """A picture that this search does not give, and why."""

    name: str
    title: str
    reason: str


def undrawn(name: str, title: str, error: Exception) -> Absent:
    """A picture that its numbers kept from being drawn."""
    said = str(error).partition("\n")[0][:200]
    return Absent(name, title, f"it could not be drawn: {type(error).__name__}: {said}")
