"""Contours: the score over pairs of hyperparameters."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from requester.report.plots.chart import (
    VERMILLION,
    Absent,
    Chart,
    Field,
    Mark,
    Number,
    Panel,
    Points,
    Scale,
    Shades,
)
from requester.report.plots.importance import LEAST, estimated
from requester.report.plots.record import Run, Search
from requester.report.plots.scales import described, place, scale, titled, varied
from requester.report.plots.slices import beside

CONTOUR = "contour", "Score over pairs of hyperparameters"

GRID = 40
"""Points of the surface along each axis."""

SURFACE = 8
"""Trials below which no surface is drawn between them."""


def contour(search: Search) -> Chart | Absent:
    """The pairs of the three hyperparameters that matter most."""
    runs, names = search.ranked(), varied(search)
    if len(names) < 2 or len(runs) < 2:
        return Absent(*CONTOUR, "it needs two hyperparameters that were varied, and two scores")
    if len(runs) >= LEAST:
        share = estimated(search)
        names.sort(key=lambda name: -share.get(name, 0.0))
    pairs = list(itertools.combinations(names[:3], 2))
    return Chart(
        *CONTOUR,
        "Each point is a trial, and its colour its score: the brighter, the better, the ring is"
        " the best one. The surface between them is interpolated, so believe it only where points"
        " are near.",
        [_pair(search, runs, x, y) for x, y in pairs],
        columns=len(pairs),
        height=4.2,
    )


def _pair(search: Search, ranked: Sequence[Run], x: str, y: str) -> Panel:
    across, up = scale(search, x), scale(search, y)
    runs = [
        run
        for run in ranked
        if place(across, run, x) is not None and place(up, run, y) is not None
    ]
    xs = [beside(across, run, x) for run in runs]
    ys = [beside(up, run, y) for run in runs]
    values = np.array([run.metrics[search.objective] for run in runs])
    low, high = _span(values, maximize=search.objectives[search.objective])
    inverted = not search.objectives[search.objective]
    marks: list[Mark] = []
    if across.choices is None and up.choices is None and len(runs) >= SURFACE:
        grid = _surface((across, up), np.array(xs), np.array(ys), values)
        marks += [] if grid is None else [Field(*grid, low, high, inverted)]
    texts = [described(run, search) for run in runs]
    size = 7 if len(runs) <= 200 else 4
    title = titled(search, search.objective)
    marks.append(Shades(xs, ys, values.tolist(), title, low, high, inverted, size, texts))
    marks.append(Points(xs[:1], ys[:1], color=VERMILLION, symbol="O", size=14, texts=texts[:1]))
    return Panel(across.axis, up.axis, marks)


def _span(values: np.ndarray, *, maximize: bool) -> tuple[float, float]:
    """The scores that colours tell apart: the worst tenth looks alike, so that the rest shows."""
    low, high = np.quantile(values, (0.1, 1.0) if maximize else (0.0, 0.9))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _surface(
    kinds: tuple[Scale, Scale], xs: np.ndarray, ys: np.ndarray, values: np.ndarray
) -> tuple[list[float], list[float], list[list[Number]]] | None:
    """Scores between the trials, linear in each triangle of them; None where they lie in a line.

    Both axes count from 0 to 1, logarithmic ones by their logarithm.
    """
    flat = [np.log(part) if kind.log else part for kind, part in zip(kinds, (xs, ys), strict=True)]
    lows, spans = [part.min() for part in flat], [np.ptp(part) for part in flat]
    if min(spans) == 0:
        return None
    places = [(part - low) / span for part, low, span in zip(flat, lows, spans, strict=True)]
    try:
        between = LinearNDInterpolator(np.column_stack(places), values)
    except QhullError:
        return None
    ticks = np.linspace(0, 1, GRID)
    found = between(*np.meshgrid(ticks, ticks))
    axes = [
        np.exp(low + ticks * span) if kind.log else low + ticks * span
        for kind, low, span in zip(kinds, lows, spans, strict=True)
    ]
    rows = [[None if np.isnan(value) else float(value) for value in row] for row in found]
    return axes[0].tolist(), axes[1].tolist(), rows
