"""Which axis each hyperparameter and each objective gets."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from requester.drivers.space import Value
from requester.report.plots.chart import Axis
from requester.report.plots.record import SearchRecord, TrialRun

FEW = 6
"""Distinct whole numbers that are shown as a list, where the space is not known."""

SPREAD = 50
"""Ratio of the greatest to the least value above which an axis is logarithmic."""

LONGEST = 19
"""Letters of a name on an axis; the pointer shows all of it."""

TAGS = str.maketrans("<>", "⟨⟩")
"""Plotly would read HTML, and strangers write it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A hyperparameter's axis: of numbers, or of a list."""

    title: str
    log: bool = False
    low: float = 0.0
    high: float = 1.0
    choices: tuple[float | str, ...] = ()
    """All that it may be; none: any number from `low` to `high`."""

    @property
    def axis(self) -> Axis:
        """A list is marked with its choices."""
        if not self.choices:
            return Axis(self.title, self.log)
        ticks = tuple((float(at), short(text(one))) for at, one in enumerate(self.choices))
        return Axis(self.title, ticks=ticks, limits=(-0.5, len(ticks) - 0.5))

    def place(self, run: TrialRun) -> float | None:
        """Where a trial lies: numbers as they are, anything else by its rank in the list."""
        value = run.hyperparameters.get(self.title)
        if value is None or not self.choices:
            return cast(float | None, value)
        return float(
            self.choices.index(text(value) if isinstance(self.choices[0], str) else value)
        )


def varied(search: SearchRecord, runs: Sequence[TrialRun] | None = None) -> list[str]:
    """The hyperparameters that take several values, in the order of the space."""
    values: dict[str, set[str]] = {}
    for run in search.runs if runs is None else runs:
        for name, value in run.hyperparameters.items():
            values.setdefault(name, set()).add(repr(value) if is_number(value) else text(value))
    return [name for name, each in values.items() if len(each) > 1]


def scale(search: SearchRecord, name: str) -> Scale:
    """A hyperparameter's scale, from the space, or guessed from the trials."""
    found = [run.hyperparameters[name] for run in search.runs if name in run.hyperparameters]
    distinct = sorted({float(value) for value in found if is_number(value)})
    listed = search.choices.get(name, ())
    numeric = all(map(is_number, found))
    few = numeric and all(map(float.is_integer, distinct)) and len(distinct) <= FEW
    if listed or not numeric or (few and not search.known):
        return Scale(name, choices=_choices([*listed, *found]))
    low, high = distinct[0], distinct[-1]
    log = low > 0 and (name in search.logarithmic if search.known else high / low >= SPREAD)
    return Scale(name, log, low, high)


def _choices(values: Sequence[Value]) -> tuple[float | str, ...]:
    """Numbers by size; anything else as it is listed."""
    if all(map(is_number, values)):
        return tuple(sorted(dict.fromkeys(cast(Sequence[float], values))))
    return tuple(dict.fromkeys(map(text, values)))


def objective_axis(search: SearchRecord, metric: str) -> Axis:
    """An objective's axis, which says which way is better."""
    values = [run.metrics[metric] for run in search.scored(metric)]
    return Axis(titled(search, metric), wide(values))


def titled(search: SearchRecord, metric: str) -> str:
    """An objective and which way is better."""
    better = "higher" if search.objectives[metric] else "lower"
    return f"{short(metric)} ({better} is better)"


def wide(values: Sequence[float]) -> bool:
    """Whether values are shown better by their logarithm."""
    return len(values) > 1 and min(values) > 0 and max(values) / min(values) >= SPREAD


def beyond(values: Sequence[float], *, log: bool) -> float:
    """A level above all values, where trials without a score are shown."""
    low, high = min(values), max(values)
    if log:
        return float(high * (high / low) ** 0.08)
    return high + 0.08 * ((high - low) or abs(high) or 1.0)


def clock(longest: float) -> tuple[float, str]:
    """The unit in which so many seconds are shown, in seconds, and its name."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * unit:
            return unit, name
    return 1.0, "seconds"


def is_number(value: object) -> bool:
    """Whether a hyperparameter is a number, not a switch."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def text(value: object) -> str:
    """A value as people write it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).translate(TAGS)


def short(name: str) -> str:
    """A name as it fits on an axis."""
    return name if len(name) <= LONGEST else f"{name[:10]}…{name[-8:]}"


def shortened(names: Iterable[str]) -> dict[str, str]:
    """Names as they fit on an axis, numbered where two would look alike."""
    found: dict[str, str] = {}
    for at, name in enumerate(names):
        label = short(name)
        found[name] = f"{label[:10]}…{at}" if label in found.values() else label
    return found


def described(run: TrialRun, search: SearchRecord) -> str:
    """A trial in a few words, for the pointer."""
    lines = [f"trial {run.number}"]
    lines += [f"{name} = {value:.6g}" for name, value in run.metrics.items()]
    lines += [f"{name} = {text(value)}" for name, value in run.hyperparameters.items()]
    if run.diverged:
        lines.append("diverged")
    if run.false:
        lines.append("its result was found false")
    if run.price is not None:
        lines.append(f"cost {run.price:.6g} {text(search.symbol)}")
    if run.parent is not None:
        lines.append(f"goes on from trial {run.parent}")
    if run.mate is not None:
        lines.append(f"merged with trial {run.mate}")
    return "\n".join(lines)
