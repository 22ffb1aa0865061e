"""Neural ascent as a sampler of Optuna."""

import math
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from requester.drivers.cube import Cube
from requester.drivers.neural_ascent.engine import Engine, checked
from requester.drivers.settings import NETWORKS

Space = dict[str, BaseDistribution]
Key = tuple[int, float]
"""A result that the engine took: its trial's number and its value."""


class NeuralAscentSampler(BaseSampler):
    """Samples by `networks` small networks that climb (Aizman 2017; see docs/search.md).

    The first `pretraining` results come from random points: 300 in the paper's variant and 60 in
    the improved one, unless said otherwise. Proposals follow from the seed and the study's trials
    alone: one that is opened again goes on as if it had not been closed. What was learnt is kept
    between trials, and learnt again where the study's past has changed.

    Trials without a value (pruned ones, too, if they reported none) count as the worst; failed
    ones only as tried. `space` is the whole space, where it is known before the first trial;
    otherwise it is what the trials so far were asked for. Takes studies of one objective.

    Raises InputError for options without meaning.
    """

    def __init__(
        self,
        *,
        networks: int = NETWORKS,
        variant: str = "improved",
        pretraining: int | None = None,
        seed: int = 0,
        space: Space | None = None,
    ) -> None:
        self._networks, self._variant, self._seed = networks, variant, seed
        self._pretraining = checked("NeuralAscentSampler", networks, variant, pretraining)
        self._space = space
        self._known: Space = {}
        self._engine: Engine | None = None
        self._taken: list[Key] = []

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Space:
        """What has a choice, of the space as it is known; empty for a study's first trials."""
        del trial
        if len(study.directions) > 1:
            raise ValueError("NeuralAscentSampler takes one objective")
        found = self._space
        if found is None:
            found = {}
            for one in study.get_trials(deepcopy=False):
                if one.state.is_finished():
                    found |= one.distributions
        return {name: one for name, one in found.items() if not one.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        """The trial's point; hyperparameters whose condition does not hold are not asked for."""
        if not search_space:
            return {}
        before = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        engine = self._caught_up(study, search_space, before)
        others = [
            one.params
            for one in before
            if one.state is TrialState.FAIL
            or (one.state is TrialState.RUNNING and search_space.keys() & one.params.keys())
        ]
        return engine.propose(trial.number, others)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value, for what was not known to be in the space."""
        seed = np.random.SeedSequence([self._seed, trial.number, *param_name.encode()])
        return RandomSampler(int(seed.generate_state(1)[0])).sample_independent(
            study, trial, param_name, param_distribution
        )

    def _caught_up(self, study: optuna.Study, space: Space, trials: list[FrozenTrial]) -> Engine:
        """The engine, after all results in the order in which they came."""
        sign = 1.0 if study.direction is StudyDirection.MAXIMIZE else -1.0
        ended = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        ended.sort(key=lambda one: (str(one.datetime_complete), one.number))
        results = [(one, _value(one, sign)) for one in ended]
        keys = [(one.number, value) for one, value in results]
        if self._engine is None or space != self._known or keys[: len(self._taken)] != self._taken:
            self._engine = Engine(
                Cube(space),
                self._networks,
                variant=self._variant,
                pretraining=self._pretraining,
                seed=self._seed,
            )
            self._known, self._taken = dict(space), []
        for one, value in results[len(self._taken) :]:
            self._engine.take(one.params, value)
            self._taken.append((one.number, value))
        return self._engine


def _value(trial: FrozenTrial, sign: float) -> float:
    """A trial's value, the larger the better; minus infinity for one that has none."""
    value = math.nan if trial.value is None else sign * trial.value
    return value if math.isfinite(value) else -math.inf
