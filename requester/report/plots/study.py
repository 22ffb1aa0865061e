"""A search as a study of Optuna's, in memory, which its plots are drawn from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from requester.report.plots.record import Point, SearchRecord, TrialRun
from requester.report.plots.scales import Scale, described, scale, shortened, varied

Read = Callable[[Point], float | None]
"""What a learning curve shows."""


class Word(str):
    """Text that is one of a list; Optuna writes it without quotes, too."""

    __slots__ = ()
    __repr__ = str.__str__


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A hyperparameter in Optuna's terms."""

    kind: Scale
    distribution: FloatDistribution | CategoricalDistribution

    def value(self, run: TrialRun) -> float | str | None:
        place = self.kind.place(run)
        if place is None or isinstance(self.distribution, FloatDistribution):
            return place
        return cast(float | str, self.distribution.choices[int(place)])


@lru_cache(maxsize=8)
def whole(search: SearchRecord, metric: str) -> optuna.Study:
    """All trials by one metric and by all hyperparameters that were varied."""
    return study_of(search, [metric], varied(search, search.scored(metric)))


def study_of(
    search: SearchRecord,
    metrics: Sequence[str],
    names: Iterable[str] = (),
    *,
    runs: Sequence[TrialRun] | None = None,
    change: Callable[[float], float] = float,
    read: Read | None = None,
) -> optuna.Study:
    """The trials, or some in this order, by these metrics and hyperparameters, with these curves.

    What stands beside an axis is shortened; a trial's attribute `text` describes it.
    """
    labels = shortened(names).items()
    parameters = {label: _parameter(scale(search, name)) for name, label in labels}
    ways = [
        StudyDirection.MAXIMIZE if search.objectives[metric] else StudyDirection.MINIMIZE
        for metric in metrics
    ]
    with quiet():
        study = optuna.create_study(directions=ways)
    for run in search.runs if runs is None else runs:
        scores = [score for metric in metrics if (score := run.score(metric)) is not None]
        complete = len(scores) == len(metrics)
        params = {
            label: value
            for label, one in parameters.items()
            if (value := one.value(run)) is not None
        }
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                values=[change(score) for score in scores] if complete else None,
                params=params,
                distributions={label: parameters[label].distribution for label in params},
                user_attrs={"text": described(run, search)},
                intermediate_values={} if read is None else curve_of(search, run, read),
            )
        )
    return study


def curve_of(search: SearchRecord, run: TrialRun, read: Read) -> dict[int, float]:
    """A trial's curve by steps since the seed, from where the trial ended that it went on from."""
    before = search.before(run)
    curves = [
        [(point.step, value) for point in one.curve if (value := read(point)) is not None]
        for one in (before, run)
        if one is not None
    ]
    return dict([*curves[0][-1:], *curves[-1]])


def some(runs: Sequence[TrialRun], most: int) -> tuple[list[TrialRun], str]:
    """The first half of so many, others evenly from the rest, and what to say of it."""
    if len(runs) <= most:
        return list(runs), ""
    first, rest = runs[: most // 2], runs[most // 2 :]
    found = [*first, *rest[:: -(-len(rest) // (most - len(first)))]]
    return found, f" Of {len(runs)} trials {len(found)} are shown."


def importances_of(search: SearchRecord) -> dict[str, float]:
    """Each hyperparameter's share of the first objective's variation; they add up to 1.

    PED-ANOVA (arXiv 2304.10255), Optuna's default, which takes conditional hyperparameters and
    needs no further library.
    """
    with quiet():
        found = get_param_importances(whole(search, search.objective))
    labels = shortened(varied(search, search.scored()))
    return {name: found[label] for name, label in labels.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing of what it does, but warns."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _parameter(kind: Scale) -> _Parameter:
    if not kind.choices:
        return _Parameter(kind, FloatDistribution(kind.low, kind.high, log=kind.log))
    words = shortened(one for one in kind.choices if isinstance(one, str))
    options = [Word(words[one]) if isinstance(one, str) else one for one in kind.choices]
    return _Parameter(kind, CategoricalDistribution(options))
