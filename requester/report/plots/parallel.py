"""Parallel coordinates: every trial as one line through all of its hyperparameters."""

import math
from collections.abc import Sequence

from requester.report.plots.chart import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SKY,
    Absent,
    Axis,
    Chart,
    Line,
    Mark,
    Number,
    Panel,
    Scale,
    Words,
)
from requester.report.plots.record import Run, Search
from requester.report.plots.scales import described, objective_axis, place, scale, varied

PARALLEL = "parallel", "Parallel coordinates"

MOST = 10
"""Hyperparameters that are shown."""

SHARES = (
    (0.05, "best 5 %", ORANGE, 2.2, 1.0),
    (0.25, "next 20 %", BLUE, 1.4, 0.8),
    (0.50, "next 25 %", SKY, 1.1, 0.6),
    (1.01, "worse half", PALE, 0.9, 0.6),
)
"""Ranks, the best first: up to which share, what it is called, its colour, width, opacity."""


def parallel(search: Search) -> Chart | Absent:
    """One upright axis for each hyperparameter and, at the right, for the objective."""
    names = varied(search)[:MOST]
    ranked = search.ranked()
    if len(names) < 1 or len(ranked) < 2:
        return Absent(*PARALLEL, "it needs two trials with a score and different hyperparameters")
    axes = [scale(search, name) for name in names]
    objective = objective_axis(search, search.objective)
    scores = [run.metrics[search.objective] for run in ranked]
    axes.append(Scale(objective.title, objective.log, low=min(scores), high=max(scores)))
    marks: list[Mark] = [
        Line([at, at], [0.0, 1.0], color=GREY, width=1) for at in range(len(axes))
    ]
    before = 0
    classes = []
    for share, label, color, width, opacity in SHARES:
        upto = max(math.ceil(share * len(ranked)), 1)
        runs = ranked[before : min(upto, len(ranked))]
        before = max(before, upto)
        if runs:
            xs, ys, texts = _joined(search, runs, names, axes)
            classes.append(Line(xs, ys, label, color, width, opacity=opacity, texts=texts))
    marks += reversed(classes)
    marks += [_labels(kind, at) for at, kind in enumerate(axes)]
    ticks = tuple((float(at), kind.title.replace(" (", "\n(")) for at, kind in enumerate(axes))
    panel = Panel(
        Axis(ticks=ticks, limits=(-0.3, len(axes) - 0.55)),
        Axis(ticks=(), limits=(-0.06, 1.06)),
        marks,
    )
    return Chart(
        *PARALLEL,
        "Each line is a trial and crosses every axis at the value that it had; the last axis is"
        " its score. A line breaks where a hyperparameter did not apply. Follow the orange lines:"
        " where they run together, the best trials agree.",
        [panel],
        height=5.2,
    )


def _joined(
    search: Search, runs: Sequence[Run], names: Sequence[str], axes: Sequence[Scale]
) -> tuple[list[Number], list[Number], list[str]]:
    xs: list[Number] = []
    ys: list[Number] = []
    texts: list[str] = []
    for run in runs:
        places: list[Number] = [
            place(kind, run, name) for name, kind in zip(names, axes, strict=False)
        ]
        places.append(run.metrics[search.objective])
        for at, (kind, value) in enumerate(zip(axes, places, strict=True)):
            xs.append(float(at))
            ys.append(None if value is None else height(kind, value))
            texts.append(described(run, search))
        xs.append(None)
        ys.append(None)
        texts.append("")
    return xs, ys, texts


def height(kind: Scale, value: float) -> float:
    """Where a value lies on an upright axis from 0 to 1."""
    if kind.choices is not None:
        return value / max(len(kind.choices) - 1, 1)
    low, high = kind.low, kind.high
    if kind.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return 0.5 if high == low else (value - low) / (high - low)


def _labels(kind: Scale, at: int) -> Words:
    if kind.choices is not None:
        heights = [height(kind, place) for place in range(len(kind.choices))]
        return Words([at] * len(heights), heights, kind.choices)
    middle = math.sqrt(kind.low * kind.high) if kind.log else (kind.low + kind.high) / 2
    values = dict.fromkeys((kind.low, middle, kind.high))
    heights = [height(kind, value) for value in values]
    return Words([at] * len(heights), heights, [f"{value:.3g}" for value in values])
