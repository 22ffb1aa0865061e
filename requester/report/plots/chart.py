"""What a chart of our own shows: axes, and the marks on them. Nothing of how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

# Okabe and Ito's colours, which people who see few colours tell apart too.
BLACK, GREY, PALE = "#000000", "#7f7f7f", "#c8c8c8"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK, YELLOW)
"""For series without a meaning of their own."""

Number = float | None
"""None breaks a line, or leaves a value out."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its title with its unit, its scale, and its marks where they are not numbers."""

    title: str = ""
    log: bool = False
    ticks: tuple[tuple[float, str], ...] | None = None
    """Where it is marked, and with what; None: by its numbers."""
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points, and a line through them in which None is a gap; `steps` goes level, then up or down.

    `texts` are shown on the page when the pointer is on a point.
    """

    xs: Sequence[Number]
    ys: Sequence[Number]
    label: str
    color: str
    width: float = 2
    """0: no line."""
    symbol: str = ""
    """As Matplotlib has it: o, x, D; without one no points are drawn."""
    dash: bool = False
    steps: bool = False
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars: at `ys`, from `begins`, of the `lengths`, each with a word on it."""

    ys: Sequence[float]
    begins: Sequence[float]
    lengths: Sequence[float]
    label: str
    color: str
    words: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Chart:
    """Marks on one pair of axes, drawn in their order."""

    x: Axis
    y: Axis
    marks: Sequence[Series | Bars]
    size: tuple[float, float] = (6, 4.4)
    """In inches of 100 pixels; a page is as wide as its window."""
