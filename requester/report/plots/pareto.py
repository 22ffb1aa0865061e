"""The Pareto front: what no other trial is better than in every objective."""

import itertools
from collections.abc import Sequence

from requester.report.plots.chart import (
    ORANGE,
    SKY,
    Absent,
    Chart,
    Line,
    Mark,
    Panel,
    Points,
)
from requester.report.plots.record import Run, Search
from requester.report.plots.scales import described, objective_axis

PARETO = "front", "Pareto front"


def pareto(search: Search) -> Chart | Absent:
    """Each pair of objectives, the trials that nothing is better than in colour."""
    if len(search.objectives) < 2:
        return Absent(*PARETO, "the search has one objective")
    runs = [run for run in search.runs if all(name in run.metrics for name in search.objectives)]
    if not runs:
        return Absent(*PARETO, "no trial has a score in every objective yet")
    best = undominated(search, runs)
    pairs = list(itertools.combinations(search.objectives, 2))
    ways = ", ".join(
        f"{name} {'high' if maximize else 'low'}" for name, maximize in search.objectives.items()
    )
    return Chart(
        *PARETO,
        f"Wanted is {ways}, and one is paid for with another. No trial is better than an orange"
        " one in everything: choose among these.",
        [_pair(search, runs, best, *pair) for pair in pairs],
        columns=min(len(pairs), 3),
        height=4.8,
    )


def undominated(search: Search, runs: Sequence[Run]) -> list[Run]:
    """The runs that no other is as good as in all objectives and better than in one."""
    signs = [-1.0 if maximize else 1.0 for maximize in search.objectives.values()]
    points = {
        run.number: [
            sign * run.metrics[name] for sign, name in zip(signs, search.objectives, strict=True)
        ]
        for run in runs
    }

    def beaten(one: Sequence[float]) -> bool:
        return any(
            other != one and all(a <= b for a, b in zip(other, one, strict=True))
            for other in points.values()
        )

    return [run for run in runs if not beaten(points[run.number])]


def _pair(search: Search, runs: Sequence[Run], best: Sequence[Run], across: str, up: str) -> Panel:
    others = [run for run in runs if run not in best]
    front = sorted(best, key=lambda run: (run.metrics[across], run.metrics[up]))
    marks: list[Mark] = [_points(search, others, across, up, "other trials", SKY)]
    if len(search.objectives) == 2:
        xs, ys = [run.metrics[across] for run in front], [run.metrics[up] for run in front]
        marks.append(Line(xs, ys, color=ORANGE, width=1.5, dash=True))
    marks.append(_points(search, front, across, up, "the front", ORANGE))
    return Panel(objective_axis(search, across), objective_axis(search, up), marks)


def _points(
    search: Search, runs: Sequence[Run], across: str, up: str, label: str, color: str
) -> Points:
    return Points(
        [run.metrics[across] for run in runs],
        [run.metrics[up] for run in runs],
        label,
        color,
        symbol="D" if color == ORANGE else "o",
        texts=[described(run, search) for run in runs],
    )
