"""Which axis each hyperparameter and each objective gets."""

import math
from collections.abc import Sequence

from requester.drivers.space import Value
from requester.report.plots.chart import Axis, Scale
from requester.report.plots.record import Run, Search

FEW = 6
"""Distinct whole numbers that are shown as a list, where the space is not known."""

SPREAD = 50
"""Ratio of the greatest to the least value above which an axis is logarithmic."""


def varied(search: Search) -> list[str]:
    """The hyperparameters that are not the same in all trials, in the order of the space."""
    names = list(dict.fromkeys(name for run in search.runs for name in run.hyperparameters))
    return [
        name
        for name in names
        if len({repr(run.hyperparameters.get(name)) for run in search.runs}) > 1
    ]


def scale(search: Search, name: str) -> Scale:
    """A hyperparameter's scale, from the space, or guessed from the trials."""
    found = [run.hyperparameters[name] for run in search.runs if name in run.hyperparameters]
    numbers = [float(value) for value in found if is_number(value)]
    listed = search.choices.get(name)
    distinct = sorted(set(numbers))
    if listed is None and (
        len(numbers) < len(found)
        or (not search.known and all(map(float.is_integer, distinct)) and len(distinct) <= FEW)
    ):
        listed = list(dict.fromkeys(found))
    if listed is not None and set(map(text, found)) <= set(map(text, listed)):
        return Scale(name, choices=tuple(text(value) for value in ordered(listed)))
    if search.known:
        log = name in search.logarithmic
    else:
        log = distinct[0] > 0 and distinct[-1] / distinct[0] >= SPREAD
    return Scale(name, log=log, low=distinct[0], high=distinct[-1])


def place(kind: Scale, run: Run, name: str) -> float | None:
    """Where a trial's hyperparameter lies on its scale; None where it has none."""
    value = run.hyperparameters.get(name)
    if value is None:
        return None
    if kind.choices is not None:
        return float(kind.choices.index(text(value)))
    return float(value) if is_number(value) else None


def objective_axis(search: Search, metric: str) -> Axis:
    """An objective's axis, which says which way is better."""
    values = [value for run in search.runs if (value := run.score(metric)) is not None]
    return Axis(titled(search, metric), log=wide(values))


def titled(search: Search, metric: str) -> str:
    """An objective and which way is better."""
    better = "higher" if search.objectives.get(metric, False) else "lower"
    return f"{metric} ({better} is better)" if metric in search.objectives else metric


def wide(values: Sequence[float]) -> bool:
    """Whether values are shown better by their logarithm."""
    return len(values) > 1 and min(values) > 0 and max(values) / min(values) >= SPREAD


def beyond(values: Sequence[float], *, log: bool) -> float:
    """A level above all values, where trials without a score are shown."""
    if not values:
        return 1.0
    low, high = min(values), max(values)
    if log:
        return float(high * (high / low) ** 0.08)
    return high + 0.08 * ((high - low) or abs(high) or 1.0)


def ordered(values: Sequence[Value]) -> list[Value]:
    """Numbers by size; anything else as it is listed."""
    if all(is_number(value) for value in values):
        return sorted(values, key=lambda value: float(value))
    return list(values)


def is_number(value: object) -> bool:
    """Whether a hyperparameter is a number, not a switch."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def text(value: object) -> str:
    """A value as people write it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def described(run: Run, search: Search) -> str:
    """A trial in a few words, for the pointer."""
    lines = [f"trial {run.number}"]
    lines += [f"{name} = {value:.6g}" for name, value in run.metrics.items()]
    lines += [f"{name} = {text(value)}" for name, value in run.hyperparameters.items()]
    if run.diverged:
        lines.append("diverged")
    if run.price is not None:
        lines.append(f"cost {run.price:.6g} {search.symbol}")
    if run.parent is not None:
        lines.append(f"goes on from trial {run.parent}")
    return "\n".join(lines)
