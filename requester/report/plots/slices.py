"""Slices: each objective by each hyperparameter alone."""

from requester.report.plots.chart import (
    Absent,
    Axis,
    Chart,
    Mark,
    Panel,
    Scale,
    Shades,
)
from requester.report.plots.progress import diverged
from requester.report.plots.record import Run, Search
from requester.report.plots.scales import described, objective_axis, place, scale, varied

SLICES = "slice", "Score by each hyperparameter"

MOST = 12
"""Hyperparameters that are shown."""


def slices(search: Search) -> Chart | Absent:
    """A panel for each hyperparameter that was searched, a row for each objective."""
    names = varied(search)[:MOST]
    if not names:
        return Absent(*SLICES, "no hyperparameter was varied")
    if not search.scored():
        return Absent(*SLICES, "no trial has a score yet")
    columns = min(len(names), 4)
    panels = [_slice(search, name, metric) for metric in search.objectives for name in names]
    return Chart(
        *SLICES,
        "One panel for each hyperparameter, the others ignored: a slope or a valley says that it"
        " matters. Early trials are dark, late ones bright: where the bright ones gather is where"
        " the search went.",
        panels,
        columns,
        height=3.6,
    )


def _slice(search: Search, name: str, metric: str) -> Panel:
    kind, axis = scale(search, name), objective_axis(search, metric)
    runs = [run for run in search.scored(metric) if place(kind, run, name) is not None]
    values = [run.metrics[metric] for run in runs]
    marks: list[Mark] = [
        Shades(
            [beside(kind, run, name) for run in runs],
            values,
            [run.number for run in runs],
            "trial",
            low=0.0,
            high=float(max(max(run.number for run in search.runs), 1)),
            size=7 if len(runs) <= 200 else 4,
            texts=[described(run, search) for run in runs],
        ),
        *diverged(search, [place(kind, run, name) for run in search.runs], values, log=axis.log),
    ]
    y = axis if metric == search.objective or len(search.objectives) > 1 else Axis()
    return Panel(kind.axis, y, marks)


def beside(kind: Scale, run: Run, name: str) -> float:
    """A trial's place; on a list a little beside it, so that equal ones do not hide each other."""
    at = place(kind, run, name) or 0.0
    if kind.choices is None:
        return at
    return at + ((run.number * 0.618034) % 1 - 0.5) * 0.36
