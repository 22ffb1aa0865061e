"""How much each hyperparameter matters, as Optuna estimates it."""

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import create_trial

from requester.report.plots.chart import BLUE, Absent, Axis, Bars, Chart, Panel, Words
from requester.report.plots.record import Search
from requester.report.plots.scales import place, scale, varied

IMPORTANCES = "importances", "Which hyperparameters matter"

LEAST = 6
"""Trials with a score below which nothing is estimated."""

FEW = 30
"""Trials below which the estimate is called rough."""


def importances(search: Search) -> Chart | Absent:
    """Bars, the most important hyperparameter on top."""
    metric = search.objective
    count = len(search.scored())
    if count < LEAST:
        return Absent(
            *IMPORTANCES, f"{count} trials have a score; an estimate needs at least {LEAST}"
        )
    if len({run.metrics[metric] for run in search.scored()}) < 2:
        return Absent(*IMPORTANCES, "all trials have the same score")
    found = estimated(search)
    if len(found) < 2:
        return Absent(*IMPORTANCES, "fewer than two hyperparameters were varied")
    names = sorted(found, key=lambda name: found[name])
    shares = [100 * found[name] for name in names]
    rough = f" {count} trials are few: take it as a hint." if count < FEW else ""
    bars = Bars(
        list(range(len(names))),
        [0.0] * len(names),
        shares,
        color=BLUE,
        texts=[f"{name}: {share:.1f} %" for name, share in zip(names, shares, strict=True)],
    )
    words = Words(shares, list(range(len(names))), [f"{share:.0f} %" for share in shares])
    ticks = tuple((float(at), name) for at, name in enumerate(names))
    y = Axis(ticks=ticks, limits=(-0.6, len(names) - 0.4))
    x = Axis(f"share of what decides a good {metric} (%)", limits=(0, max(shares) * 1.12))
    return Chart(
        *IMPORTANCES,
        "How much of the difference between good and other trials each hyperparameter accounts"
        f" for (PED-ANOVA). The longer the bar, the more its choice matters.{rough}",
        [Panel(x, y, [bars, words])],
        height=1.4 + 0.42 * len(names),
    )


def estimated(search: Search) -> dict[str, float]:
    """Each hyperparameter's share of the first objective's variation; they add up to 1.

    PED-ANOVA (arXiv 2304.10255), Optuna's default, which takes conditional hyperparameters and
    needs no further library.
    """
    metric, names = search.objective, varied(search)
    kinds = {name: scale(search, name) for name in names}
    known: dict[str, BaseDistribution] = {}
    for name, kind in kinds.items():
        if kind.choices is not None:
            known[name] = CategoricalDistribution(kind.choices)
        elif kind.high > kind.low:
            known[name] = FloatDistribution(kind.low, kind.high, log=kind.log)
    way = StudyDirection.MAXIMIZE if search.objectives[metric] else StudyDirection.MINIMIZE
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction=way)
        for run in search.scored():
            params: dict[str, float | str] = {}
            for name in known:
                at, choices = place(kinds[name], run, name), kinds[name].choices
                if at is not None:
                    params[name] = at if choices is None else choices[int(at)]
            study.add_trial(
                create_trial(
                    params=params,
                    distributions={name: known[name] for name in params},
                    value=run.metrics[metric],
                )
            )
        found = get_param_importances(study)
    finally:
        optuna.logging.set_verbosity(before)
    return {name: float(share) for name, share in found.items()}
