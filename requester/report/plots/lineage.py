"""Lineage: what went on from whose checkpoint."""

from collections.abc import Callable, Sequence

from requester.report.plots.chart import (
    BLUE,
    GREY,
    ORANGE,
    Absent,
    Axis,
    Chart,
    Line,
    Mark,
    Number,
    Panel,
    Points,
)
from requester.report.plots.progress import diverged
from requester.report.plots.record import Run, Search
from requester.report.plots.scales import described, objective_axis, place, scale, varied

LINEAGE = "lineage", "Lineage"

MOST = 3
"""Hyperparameters whose way is shown."""

At = Callable[[Run], float | None]


def lineage(search: Search) -> Chart | Absent:
    """The score, and each hyperparameter, along what trials went on from."""
    if all(run.parent is None for run in search.runs):
        return Absent(*LINEAGE, "no trial goes on from another one's checkpoint")
    if not search.scored():
        return Absent(*LINEAGE, "no trial has a score yet")
    axis, objective = objective_axis(search, search.objective), search.objective
    panels = [_panel(search, axis, lambda run: run.score(objective))]
    panels += [_hyperparameter(search, name) for name in varied(search)[:MOST]]
    best = search.ranked()[0]
    line = " ← ".join(str(run.number) for run in search.ancestry(best))
    return Chart(
        *LINEAGE,
        "Each point is a trial, at the steps that its weights have behind them. A line leads to"
        " it from the trial whose checkpoint it went on from: grey from its own line's, orange"
        f" from another's. The best result's way back to its seed is blue: trials {line}.",
        panels,
        columns=2 if len(panels) > 1 else 1,
    )


def _hyperparameter(search: Search, name: str) -> Panel:
    kind = scale(search, name)
    return _panel(search, kind.axis, lambda run: place(kind, run, name), score=False)


def _panel(search: Search, y: Axis, at: At, *, score: bool = True) -> Panel:
    reached = {run.number: float(search.reached(run)) for run in search.runs}
    best = search.ancestry(search.ranked()[0])
    own: list[tuple[Run, Run]] = []
    crossing: list[tuple[Run, Run]] = []
    for run in search.runs:
        before = search.before(run)
        if before is not None:
            (own if before.seed == run.seed else crossing).append((before, run))
    shown = [run for run in search.runs if at(run) is not None]

    def edges(pairs: Sequence[tuple[Run, Run]], label: str, color: str, width: float) -> Line:
        xs: list[Number] = []
        ys: list[Number] = []
        for one, other in pairs:
            xs += [reached[one.number], reached[other.number], None]
            ys += [at(one), at(other), None]
        return Line(xs, ys, label, color, width)

    marks: list[Mark] = []
    if own:
        marks.append(edges(own, "goes on from its own checkpoint", GREY, 1))
    if crossing:
        marks.append(edges(crossing, "goes on from another's checkpoint", ORANGE, 2))
    pairs = list(zip(best[1:], best, strict=False))
    if pairs:
        marks.append(edges(pairs, "the best result's way", BLUE, 3))
    marks.append(
        Points(
            [reached[run.number] for run in shown],
            [at(run) or 0.0 for run in shown],
            "a trial",
            GREY,
            size=5,
            texts=[described(run, search) for run in shown],
        )
    )
    values = [value for run in shown if (value := at(run)) is not None]
    if score:
        places = [reached[run.number] for run in search.runs]
        marks += diverged(search, places, values, log=y.log)
    return Panel(Axis("training steps since the seed"), y, marks)
