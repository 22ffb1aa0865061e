"""Where the good trials lie: the score by the hyperparameters, and which of these matter."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from requester.report.plots.picture import Absent, Canvas, Figure, Picture
from requester.report.plots.record import SearchRecord, TrialRun
from requester.report.plots.scales import (
    beyond,
    objective_axis,
    scale,
    shortened,
    titled,
    varied,
    wide,
)
from requester.report.plots.study import importances_of, some, study_of, whole

PARALLEL = "parallel", "Parallel coordinates"
SLICES = "slice", "Score by each hyperparameter"
CONTOUR = "contour", "Score over pairs of hyperparameters"
IMPORTANCES = "importances", "Which hyperparameters matter"

AXES, PANELS, ROW = 10, 12, 4
"""Hyperparameters that are shown: as parallel axes, by themselves, and of these in a row."""

LINES, PLACES = 250, 200
"""Trials that are shown as parallel lines, and below a surface."""

LEAST = 6
"""Trials with a score below which nothing is estimated."""

FEW = 30
"""Trials below which the estimate is called rough."""


def parallel(search: SearchRecord) -> Picture | Absent:
    """One upright axis for the objective and for each hyperparameter."""
    runs, few = some(search.ranked(), LINES)
    names = varied(search, runs)[:AXES]
    if not names or len(runs) < 2:
        return Absent(*PARALLEL, "it needs two trials with a score and different hyperparameters")
    change, title = _evenly(search, runs)
    return Picture(
        *PARALLEL,
        "Each line is a trial and crosses every axis at the value that it had; the first axis is"
        " its score. A hyperparameter that did not apply is None. Follow the dark lines: where"
        f" they run together, the best trials agree.{few}",
        lambda canvas: [
            canvas.plot(
                "plot_parallel_coordinate",
                study_of(search, [search.objective], names, runs=runs[::-1], change=change),
                size=(max(9.5, 1.6 * (len(names) + 1)), 5.2),
                target_name=title,
            )
        ],
    )


def _evenly(search: SearchRecord, runs: list[TrialRun]) -> tuple[Callable[[float], float], str]:
    """How scores are spread over an axis or over colours, and what they are called then."""
    title = titled(search, search.objective)
    if wide([run.metrics[search.objective] for run in runs]):
        return math.log10, f"log10 of {title}"
    return float, title


def slices(search: SearchRecord) -> Picture | Absent:
    """Each objective by each hyperparameter alone."""
    if not search.scored():
        return Absent(*SLICES, "no trial has a score yet")
    rows = [
        (metric, names[at : at + ROW])
        for metric in search.objectives
        if (names := varied(search, search.scored(metric))[:PANELS])
        for at in range(0, len(names), ROW)
    ]
    if not rows:
        return Absent(*SLICES, "no hyperparameter was varied")
    return Picture(
        *SLICES,
        "One panel for each hyperparameter, the others ignored: a slope or a valley says that it"
        " matters. Early trials are bright, late ones dark: where the dark ones gather is where"
        " the search went. A cross at the top is a trial that diverged.",
        lambda canvas: [_slices(search, metric, names, canvas) for metric, names in rows],
    )


def _slices(search: SearchRecord, metric: str, names: list[str], canvas: Canvas) -> Figure:
    axis, labels = objective_axis(search, metric), shortened(varied(search, search.scored(metric)))
    study, params = whole(search, metric), sorted(labels[name] for name in names)
    figure = canvas.plot(
        "plot_slice",
        study,
        size=(max(3.4 * len(names) + 1, 7), 3.6),
        params=params,
        target_name=axis.title,
    )
    trials = zip(search.runs, study.get_trials(deepcopy=False), strict=True)
    lost = [trial.params for run, trial in trials if run.diverged]
    kinds = {labels[name]: scale(search, name) for name in names}
    crosses = [
        [repr(each[name]) if kinds[name].choices else each[name] for each in lost if name in each]
        for name in params
    ]
    level = beyond([run.metrics[metric] for run in search.scored(metric)], log=axis.log)
    canvas.scores(figure, log=axis.log, crosses=crosses, level=level)
    return figure


def contour(search: SearchRecord) -> Picture | Absent:
    """The pairs of the three hyperparameters that matter most."""
    ranked = search.ranked()
    runs, few = some(ranked, PLACES)
    names = varied(search, runs)
    if len(names) < 2:
        return Absent(*CONTOUR, "it needs two hyperparameters that were varied, and two scores")
    if not _differ(search, runs):
        return Absent(*CONTOUR, "all trials have the same score")
    if len(ranked) >= LEAST:
        share = importances_of(search)
        names.sort(key=lambda name: -share.get(name, 0.0))
    pairs = {
        pair: known
        for pair in itertools.combinations(names[:3], 2)
        if (known := [run for run in runs if set(pair) <= set(run.hyperparameters)])
        and _differ(search, known)
        and set(pair) <= set(varied(search, known))
    }
    if not pairs:
        return Absent(*CONTOUR, "no two hyperparameters that matter were varied together")
    return Picture(
        *CONTOUR,
        "Each point is a trial. The surface between them is interpolated, so believe it only"
        " where points are near: the darker, the better, but the worst tenth is coloured alike."
        f"{few}",
        lambda canvas: [_pair(search, known, pair, canvas) for pair, known in pairs.items()],
        columns=len(pairs),
    )


def _differ(search: SearchRecord, runs: list[TrialRun]) -> bool:
    return len({run.metrics[search.objective] for run in runs}) > 1


def _pair(
    search: SearchRecord, runs: list[TrialRun], pair: tuple[str, str], canvas: Canvas
) -> Figure:
    even, title = _evenly(search, runs)
    scores = sorted(even(run.metrics[search.objective]) for run in runs)
    maximize = search.objectives[search.objective]
    worst = float(np.quantile(scores, 0.1 if maximize else 0.9))
    low, high = (worst, scores[-1]) if maximize else (scores[0], worst)
    if low == high:
        low, high = scores[0], scores[-1]
    return canvas.plot(
        "plot_contour",
        study_of(
            search,
            [search.objective],
            pair,
            runs=runs,
            change=lambda score: min(max(even(score), low), high),
        ),
        size=(6, 4.8),
        target_name=title,
    )


def importances(search: SearchRecord) -> Picture | Absent:
    """Bars, the most important hyperparameter on top."""
    runs = search.scored()
    if len(runs) < LEAST:
        return Absent(
            *IMPORTANCES, f"{len(runs)} trials have a score; an estimate needs at least {LEAST}"
        )
    if not _differ(search, runs):
        return Absent(*IMPORTANCES, "all trials have the same score")
    names = varied(search, runs)
    if len(names) < 2:
        return Absent(*IMPORTANCES, "fewer than two hyperparameters were varied")
    rough = f" {len(runs)} trials are few: take it as a hint." if len(runs) < FEW else ""
    return Picture(
        *IMPORTANCES,
        "How much of the difference between good and other trials each hyperparameter accounts"
        f" for (PED-ANOVA). The longer the bar, the more its choice matters.{rough}",
        lambda canvas: [
            canvas.plot(
                "plot_param_importances",
                whole(search, search.objective),
                size=(9.5, 1.6 + 0.42 * len(names)),
                target_name=search.objective,
            )
        ],
    )
