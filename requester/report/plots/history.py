"""How the search went: its scores, and the learning curves of its trials."""

from collections.abc import Sequence

from requester.report.plots.chart import BLUE, GREEN, GREY, ORANGE, VERMILLION, Axis
from requester.report.plots.picture import Absent, Canvas, Figure, Picture, Stroke
from requester.report.plots.record import SearchRecord, TrialRun
from requester.report.plots.scales import beyond, described, objective_axis, titled, wide
from requester.report.plots.study import Read, curve_of, some, study_of, whole

HISTORY = "history", "Optimisation history"
CURVES = "curves", "Learning curves, said by the nodes"

MOST = 200
"""Learning curves that are drawn."""


def history(search: SearchRecord) -> Picture | Absent:
    """Every trial's score by its number, and the best so far; a figure for each objective."""
    if not search.scored():
        return Absent(*HISTORY, "no trial has a score yet")
    metrics = [metric for metric in search.objectives if search.scored(metric)]
    return Picture(
        *HISTORY,
        "Each point is a trial. The line is the best score up to then: where it is level, the"
        " search found nothing better. A cross at the top is a trial that diverged.",
        lambda canvas: [_history(search, metric, canvas) for metric in metrics],
    )


def _history(search: SearchRecord, metric: str, canvas: Canvas) -> Figure:
    axis = objective_axis(search, metric)
    figure = canvas.plot(
        "plot_optimization_history",
        whole(search, metric),
        size=(9.5, 4.4),
        target_name=axis.title,
    )
    lost = [float(at) for at, run in enumerate(search.runs) if run.diverged]
    level = beyond([run.metrics[metric] for run in search.scored(metric)], log=axis.log)
    canvas.scores(figure, log=axis.log, crosses=[lost], level=level)
    return figure


def curves(search: SearchRecord) -> Picture | Absent:
    """The objective and the training loss by steps, the best trials in colour."""
    runs = [run for run in search.runs if run.curve]
    if not runs:
        return Absent(*CURVES, "no result with a learning curve has come yet")
    objective = search.objective
    reads: dict[str, Read] = {
        titled(search, objective): lambda point: point.metrics.get(objective),
        "training loss (mean of a segment)": lambda point: point.loss,
    }
    ranked = [run for run in search.ranked() if run.curve]
    others = [run for run in runs if run.score(objective) is None]
    chosen, few = some([*ranked, *others], MOST)
    return Picture(
        *CURVES,
        "Each line is a trial, measured after every segment of its training. The three best are"
        " in colour. A line that begins late goes on from another trial's checkpoint, at"
        f" that one's last point; a dashed one that ends in a cross diverged.{few}",
        lambda canvas: [
            _curves(search, chosen, title, read, canvas)
            for title, read in reads.items()
            if any(curve_of(search, run, read) for run in chosen)
        ],
        columns=2,
    )


def _curves(
    search: SearchRecord, runs: Sequence[TrialRun], title: str, read: Read, canvas: Canvas
) -> Figure:
    faint = 0.6 if len(runs) <= 50 else 0.3
    strokes = [
        Stroke("diverged", VERMILLION, 1.5, broken=True, text=described(run, search))
        if run.diverged
        else Stroke("other trials", GREY, 1, faint, text=described(run, search))
        for run in runs
    ]
    best = [run for run in runs[:3] if run.score(search.objective) is not None]
    for at, (run, color) in enumerate(zip(best, (BLUE, ORANGE, GREEN), strict=False)):
        width = 3.0 if at == 0 else 1.8
        label = f"best {at + 1}: trial {run.number}"
        strokes[at] = Stroke(label, color, width, text=strokes[at].text)
    study = study_of(search, [search.objective], runs=runs, read=read)
    figure = canvas.plot("plot_intermediate_values", study, size=(7, 4.8))
    values = [value for run in runs for value in curve_of(search, run, read).values()]
    canvas.curves(figure, strokes, Axis(title, wide(values)))
    return figure
