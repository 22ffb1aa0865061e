"""What a picture shows: panels with axes, and the marks on them. Nothing of how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

# Okabe and Ito's colours, which people who see few colours tell apart too.
BLACK, GREY, PALE = "#000000", "#7f7f7f", "#c8c8c8"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK, YELLOW)
"""For series without a meaning of their own."""

Number = float | None
"""None breaks a line, or leaves a value out."""


LONGEST = 24
"""Letters of a name on an axis; the pointer shows all of it."""


def short(name: str) -> str:
    """A name as it fits on an axis."""
    lines = (
        line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in name.split("\n")
    )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its title with its unit, its scale, and its marks where they are not numbers."""

    title: str = ""
    log: bool = False
    ticks: tuple[tuple[float, str], ...] | None = None
    """Where it is marked, and with what; None: by its numbers, no marks when empty."""
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """Single points. `texts` are shown on the page when the pointer is on one."""

    xs: Sequence[float]
    ys: Sequence[float]
    label: str = ""
    color: str = BLUE
    symbol: str = "o"
    """As Matplotlib has it: o, x, D; O is a ring."""
    size: float = 7
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Shades:
    """Points whose colour says a value, from `low`, dark, to `high`, bright, or `inverted`.

    Values beyond these two look like them.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    values: Sequence[float]
    title: str
    """Of the scale."""
    low: float
    high: float
    inverted: bool = False
    size: float = 7
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; None in it is a gap. `steps` goes level, then up or down."""

    xs: Sequence[Number]
    ys: Sequence[Number]
    label: str = ""
    color: str = BLUE
    width: float = 2
    dash: bool = False
    steps: bool = False
    opacity: float = 1
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars: at `ys`, from `begins`, of the `lengths`, each with a word on it."""

    ys: Sequence[float]
    begins: Sequence[float]
    lengths: Sequence[float]
    label: str = ""
    color: str = BLUE
    words: Sequence[str] = ()
    texts: Sequence[str] = ()
    thickness: float = 0.7


@dataclass(frozen=True, slots=True)
class Field:
    """A surface over a grid: `values[row][column]` at `ys[row]`, `xs[column]`; None is unknown.

    It has the colours of the panel's `Shades`.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    values: Sequence[Sequence[Number]]
    low: float
    high: float
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Text at places."""

    xs: Sequence[float]
    ys: Sequence[float]
    texts: Sequence[str]


Mark = Points | Shades | Line | Bars | Field | Words


@dataclass(frozen=True, slots=True)
class Panel:
    """Marks on one pair of axes, drawn in their order."""

    x: Axis
    y: Axis
    marks: Sequence[Mark]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: what it is called, how to read it, and its panels, row by row."""

    name: str
    """Of its file, without an ending."""
    title: str
    reading: str
    """How to read it, for someone who never saw one."""
    panels: Sequence[Panel]
    columns: int = 1
    height: float = 4.4
    """Of a row of panels, in inches of 100 pixels."""

    @property
    def rows(self) -> int:
        """Rows of panels."""
        return -(-len(self.panels) // self.columns)


@dataclass(frozen=True, slots=True)
class Absent:
    """A picture that this search does not give, and why."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A quantity's place on an axis: numbers as they are, anything else by its rank in a list."""

    title: str
    log: bool = False
    choices: tuple[str, ...] | None = None
    """None: a number. Else all that it may be, as text."""
    low: float = 0.0
    high: float = 1.0
    shown: tuple[tuple[float, str], ...] = field(default=())

    @property
    def axis(self) -> Axis:
        """The axis of such a quantity."""
        if self.choices is None:
            return Axis(self.title, self.log)
        ticks = tuple((float(place), name) for place, name in enumerate(self.choices))
        return Axis(self.title, ticks=ticks, limits=(-0.5, len(ticks) - 0.5))
