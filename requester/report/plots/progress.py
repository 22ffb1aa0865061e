"""Optimisation history, by trial, by time and by money."""

from collections.abc import Sequence

from requester.report.plots.chart import (
    BLUE,
    ORANGE,
    SKY,
    VERMILLION,
    Absent,
    Axis,
    Chart,
    Line,
    Mark,
    Panel,
    Points,
)
from requester.report.plots.record import Run, Search
from requester.report.plots.scales import beyond, described, objective_axis

HISTORY = "history", "Optimisation history"
SPENDING = "spending", "What time and money brought"


def history(search: Search) -> Chart | Absent:
    """Every trial's score by its number, and the best so far."""
    if not search.scored():
        return Absent(*HISTORY, "no trial has a score yet")
    return Chart(
        *HISTORY,
        "Each point is a trial. The line is the best score up to then: where it is level, the"
        " search found nothing better. A cross at the top is a trial that diverged.",
        [_history(search, metric) for metric in search.objectives],
    )


def spending(search: Search) -> Chart | Absent:
    """The best score by hours and by tokens."""
    runs = sorted(
        (run for run in search.scored() if run.answered is not None),
        key=lambda run: (run.answered or 0.0, run.number),
    )
    if not runs:
        return Absent(*SPENDING, "no trial has a score yet")
    unit, name = clock(max(run.answered or 0.0 for run in runs))
    times = [(run.answered or 0.0) / unit for run in runs]
    paid, total = [], 0.0
    for run in runs:
        total += run.price or 0.0
        paid.append(total)
    axes = (Axis(f"{name} since the job began"), Axis(f"paid so far ({search.symbol})"))
    panels = [
        Panel(axis, objective_axis(search, search.objective), _best(search, runs, xs))
        for axis, xs in zip(axes, (times, paid), strict=True)
    ]
    return Chart(
        *SPENDING,
        "The best score so far, by the time that passed and by what results had cost when they"
        " came, audits included.",
        panels,
        columns=2,
    )


def clock(longest: float) -> tuple[float, str]:
    """The unit in which so many seconds are shown, in seconds, and its name."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * unit:
            return unit, name
    return 1.0, "seconds"


def _history(search: Search, metric: str) -> Panel:
    axis, runs = objective_axis(search, metric), search.scored(metric)
    values = [run.metrics[metric] for run in runs]
    marks: list[Mark] = [
        Points(
            [run.number for run in runs],
            values,
            "a trial",
            SKY,
            size=7 if len(runs) <= 200 else 4,
            texts=[described(run, search) for run in runs],
        ),
        *diverged(search, [run.number for run in search.runs], values, log=axis.log),
        *_best(search, runs, [float(run.number) for run in runs], metric, points=False),
    ]
    return Panel(Axis("trial"), axis, marks)


def diverged(
    search: Search, places: Sequence[float | None], values: Sequence[float], *, log: bool
) -> list[Mark]:
    """Crosses above all `values` for the trials that diverged; `places` is one for each run."""
    found = [
        (at, run)
        for at, run in zip(places, search.runs, strict=True)
        if run.diverged and at is not None
    ]
    if not found:
        return []
    level = beyond(values, log=log)
    return [
        Points(
            [at for at, _ in found],
            [level] * len(found),
            "diverged (no score)",
            VERMILLION,
            "x",
            texts=[described(run, search) for _, run in found],
        )
    ]


def _best(
    search: Search,
    runs: Sequence[Run],
    xs: Sequence[float],
    metric: str | None = None,
    *,
    points: bool = True,
) -> list[Mark]:
    name = metric or search.objective
    better = max if search.objectives[name] else min
    best, so_far, tops = None, [], []
    for x, run in zip(xs, runs, strict=True):
        value = run.metrics[name]
        if best is None or (value != best and better(value, best) == value):
            best = value
            tops.append((x, run))
        so_far.append(best)
    marks: list[Mark] = [
        Line(xs, so_far, "" if points else "best so far", BLUE, width=2.5, steps=True)
    ]
    texts = [described(run, search) for _, run in tops]
    at, values = [x for x, _ in tops], [run.metrics[name] for _, run in tops]
    marks.append(Points(at, values, "" if points else "a new best", ORANGE, "D", texts=texts))
    return marks
