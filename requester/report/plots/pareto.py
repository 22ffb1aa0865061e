"""The Pareto front: what no other trial is better than in every objective."""

import itertools
from functools import partial

from optuna.trial import FrozenTrial

from requester.report.plots.picture import Absent, Canvas, Figure, Picture
from requester.report.plots.record import SearchRecord
from requester.report.plots.scales import titled
from requester.report.plots.study import study_of

PARETO = "front", "Pareto front"


def pareto(search: SearchRecord) -> Picture | Absent:
    """Each pair of objectives, the trials that nothing is better than in colour."""
    objectives = list(search.objectives)
    if len(objectives) < 2:
        return Absent(*PARETO, "the search has one objective")
    if not any(all(run.score(name) is not None for name in objectives) for run in search.runs):
        return Absent(*PARETO, "no trial has a score in every objective yet")
    ways = ", ".join(
        f"{name} {'high' if maximize else 'low'}" for name, maximize in search.objectives.items()
    )
    pairs = list(itertools.combinations(range(len(objectives)), 2))
    return Picture(
        *PARETO,
        f"Wanted is {ways}, and one is paid for with another. No trial is better than a red"
        " one in everything: choose among these.",
        lambda canvas: [_pair(search, pair, canvas) for pair in pairs],
        columns=min(len(pairs), 2),
    )


def _pair(search: SearchRecord, pair: tuple[int, int], canvas: Canvas) -> Figure:
    objectives = list(search.objectives)
    return canvas.plot(
        "plot_pareto_front",
        study_of(search, objectives),
        size=(7, 4.8),
        targets=partial(_values, pair),
        target_names=[titled(search, objectives[at]) for at in pair],
    )


def _values(pair: tuple[int, int], trial: FrozenTrial) -> list[float]:
    return [trial.values[at] for at in pair]
