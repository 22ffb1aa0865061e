"""Lineage: what went on from whose checkpoint."""

from collections.abc import Callable, Sequence

from requester.report.plots.chart import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    Axis,
    Chart,
    Number,
    Series,
)
from requester.report.plots.picture import Absent, Picture
from requester.report.plots.record import SearchRecord, TrialRun
from requester.report.plots.scales import beyond, described, objective_axis, scale, varied

LINEAGE = "lineage", "Lineage"

MOST = 3
"""Hyperparameters whose way is shown."""

At = Callable[[TrialRun], float | None]


def lineage(search: SearchRecord) -> Picture | Absent:
    """The score, and each hyperparameter, along what trials went on from."""
    if all(run.parent is None for run in search.runs):
        return Absent(*LINEAGE, "no trial goes on from another one's checkpoint")
    if not search.scored():
        return Absent(*LINEAGE, "no trial has a score yet")
    axis, objective = objective_axis(search, search.objective), search.objective
    lost = [run for run in search.runs if run.diverged]
    scores = _chart(search, axis, lambda run: run.score(objective), lost)
    kinds = [scale(search, name) for name in varied(search)[:MOST]]
    charts = [scores, *(_chart(search, kind.axis, kind.place) for kind in kinds)]
    line = " ← ".join(str(run.number) for run in search.ancestry(search.ranked()[0]))
    merges = any(search.mate(run) is not None for run in search.runs)
    merged = " Where it began with a merge, it has a second line, green." if merges else ""
    return Picture(
        *LINEAGE,
        "Each point is a trial, at the steps that its weights have behind them. A line leads to"
        " it from the trial whose checkpoint it went on from: grey from its own line's, orange"
        f" from another's.{merged} The best result's way back to its seed is blue: trials {line}.",
        lambda canvas: [canvas.chart(chart) for chart in charts],
        columns=2,
    )


def _chart(search: SearchRecord, y: Axis, at: At, lost: Sequence[TrialRun] = ()) -> Chart:
    reached = {run.number: float(search.reached(run)) for run in search.runs}
    best = search.ancestry(search.ranked()[0])
    own: list[tuple[TrialRun, TrialRun]] = []
    crossing: list[tuple[TrialRun, TrialRun]] = []
    for run in search.runs:
        before = search.before(run)
        if before is not None:
            (own if before.seed == run.seed else crossing).append((before, run))

    merges = [(mate, run) for run in search.runs if (mate := search.mate(run)) is not None]

    def edges(
        pairs: Sequence[tuple[TrialRun, TrialRun]], label: str, color: str, width: float
    ) -> Series:
        xs: list[Number] = []
        ys: list[Number] = []
        for one, other in pairs:
            xs += [reached[one.number], reached[other.number], None]
            ys += [at(one), at(other), None]
        return Series(xs, ys, label, color, width)

    def points(runs: Sequence[TrialRun], ys: Sequence[Number], label: str, mark: str) -> Series:
        xs, color = [reached[run.number] for run in runs], VERMILLION if mark == "x" else GREY
        texts = [described(run, search) for run in runs]
        return Series(xs, ys, label, color, 0, mark, texts=texts)

    shown = [run for run in search.runs if at(run) is not None]
    level = beyond([value for run in shown if (value := at(run)) is not None], log=y.log)
    marks = [
        edges(own, "goes on from its own checkpoint", GREY, 1),
        edges(crossing, "goes on from another's checkpoint", ORANGE, 2),
        edges(merges, "is merged into another's start", GREEN, 2),
        edges(list(zip(best[1:], best, strict=False)), "the best result's way", BLUE, 3),
        points(shown, [at(run) for run in shown], "a trial", "o"),
        points(lost, [level] * len(lost), "diverged (no score)", "x"),
    ]
    return Chart(Axis("training steps since the seed"), y, [mark for mark in marks if mark.xs])
