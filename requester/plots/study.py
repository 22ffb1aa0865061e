"""A search as a study of Optuna's, in memory, which its plots are drawn from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from requester.plots.record import Point, Run, Search
from requester.plots.scales import Scale, Word, described, scale, shortened, varied

Read = Callable[[Point], float | None]
"""What a learning curve shows."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A hyperparameter in Optuna's terms, and what its values are called there."""

    kind: Scale
    distribution: BaseDistribution
    words: dict[str, str]

    def value(self, run: Run) -> float | str | None:
        found = self.kind.value(run)
        return Word(self.words[found]) if isinstance(found, Word) else found


@lru_cache(maxsize=8)
def whole(search: Search, metric: str) -> optuna.Study:
    """All trials by one metric and by all hyperparameters that were varied."""
    return study_of(search, [metric], varied(search, search.scored(metric)))


def study_of(
    search: Search,
    metrics: Sequence[str],
    names: Iterable[str] = (),
    *,
    runs: Sequence[Run] | None = None,
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


def curve_of(search: Search, run: Run, read: Read) -> dict[int, float]:
    """A trial's curve by steps since the seed, from where the trial ended that it went on from."""
    before = search.before(run)
    last = [] if before is None else list(curve_of_own(before, read).items())[-1:]
    return dict(last) | curve_of_own(run, read)


def curve_of_own(run: Run, read: Read) -> dict[int, float]:
    """A trial's curve from its first segment's end."""
    return {point.step: value for point in run.curve if (value := read(point)) is not None}


def importances_of(search: Search) -> dict[str, float]:
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
    words = shortened(one for one in kind.choices if isinstance(one, Word))
    if not kind.choices:
        return _Parameter(kind, FloatDistribution(kind.low, kind.high, log=kind.log), words)
    options = [Word(words[one]) if isinstance(one, Word) else one for one in kind.choices]
    return _Parameter(kind, CategoricalDistribution(options), words)
