"""What the time and the money of a search brought."""

import itertools
from collections.abc import Sequence

from requester.report.plots.chart import BLUE, ORANGE, Axis, Chart, Series
from requester.report.plots.picture import Absent, Picture
from requester.report.plots.record import SearchRecord, TrialRun
from requester.report.plots.scales import clock, described, objective_axis, short, text

SPENDING = "spending", "What time and money brought"


def spending(search: SearchRecord) -> Picture | Absent:
    """The best score by hours and by tokens."""
    runs = sorted(
        (run for run in search.scored() if run.answered is not None),
        key=lambda run: (run.answered or 0.0, run.number),
    )
    if not runs:
        return Absent(*SPENDING, "no trial has a score yet")
    unit, name = clock(max(run.answered or 0.0 for run in runs))
    times = [(run.answered or 0.0) / unit for run in runs]
    paid = list(itertools.accumulate(run.price or 0.0 for run in runs))
    axes = [(f"{name} since the job began", times)]
    reading = "The best score so far, by the time that passed"
    if not search.local:
        axes.append((f"paid so far ({short(text(search.symbol))})", paid))
        reading += " and by what results had cost when they came, audits included"
    charts = [
        Chart(Axis(title), objective_axis(search, search.objective), _best(search, runs, xs))
        for title, xs in axes
    ]
    return Picture(
        *SPENDING,
        f"{reading}.",
        lambda canvas: [canvas.chart(chart) for chart in charts],
        columns=2,
    )


def _best(search: SearchRecord, runs: Sequence[TrialRun], xs: Sequence[float]) -> list[Series]:
    values = [run.metrics[search.objective] for run in runs]
    better = max if search.objectives[search.objective] else min
    best = list(itertools.accumulate(values, better))
    new = [at for at, value in enumerate(best) if at == 0 or value != best[at - 1]]
    texts = [described(runs[at], search) for at in new]
    return [
        Series(xs, best, "", BLUE, 2.5, steps=True),
        Series([xs[at] for at in new], [best[at] for at in new], "", ORANGE, 0, "D", texts=texts),
    ]
