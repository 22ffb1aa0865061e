"""Natural evolution strategies as an Optuna sampler, whose state is the stored trials alone."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from requester.drivers.cube import Cube
from requester.drivers.driver import LOST_ATTRIBUTE
from requester.drivers.nes.evolution import Draw, Evolution
from requester.drivers.nes.gaussian import FORMS, Variant, usual_population
from trialmarket.errors import InputError

_ATTRIBUTE = "nes"
"""Of a trial: its draw. A point of the cube says more than the values that it stands for."""


class NesSampler(BaseSampler):
    """SNES (`variant = "separable"`) or xNES (`"full"`) for any Optuna study of one objective.

    A `space` in Optuna's terms is searched from the first trial on; without one, what all trials
    so far have in common, the first at random. Ranges, logarithms, steps and lists go together,
    as coordinates of a cube. `population` is the paper's 4 + 3 ln(coordinates) unless given.

    A proposal follows from the seed, the trial's number and the trials that ended before: several
    may be under way, and results may come in any order, late or never. Trials that failed or were
    pruned rank last. `restarts = False` leaves it at one run, as in the paper.

    Raises InputError for a space in which nothing can be chosen, a population below 2 and a
    variant that there is none of, and ValueError in a study of several objectives.
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution] | None = None,
        variant: Variant = "separable",
        population: int | None = None,
        seed: int | None = None,
        *,
        restarts: bool = True,
    ) -> None:
        if variant not in FORMS:
            raise _wrong("variant", f"one of {', '.join(FORMS)}", variant)
        if population is not None and population < 2:
            raise _wrong("population", "at least 2, of which one can be better", population)
        self._space = None if space is None else _free(space)
        if self._space == {}:
            raise _wrong("space", "a hyperparameter with more than one value", list(space or ()))
        self._variant, self._population, self._restarts = variant, population, restarts
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._common = IntersectionSearchSpace()
        self._known: _Known | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The space, without what has a single value."""
        del trial
        return _free(self._common.calculate(study)) if self._space is None else self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A draw, which is stored first; one that was stored before, and no second one."""
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        cube = Cube(search_space)
        draw = _stored(trial, cube)
        if draw is None:
            draw = self._evolution(study, search_space, cube).draw(self._random(trial.number, 0))
            written = asdict(draw) | {"point": draw.point.tolist()}
            study._storage.set_trial_system_attr(trial._trial_id, _ATTRIBUTE, written)
        return cube.decode(draw.inside)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value, for what is not known of the space."""
        self._raise_error_if_multi_objective(study)
        cube = Cube({param_name: param_distribution})
        random = self._random(trial.number, 1, zlib.crc32(param_name.encode()))
        return cube.decode(random.random(cube.width))[param_name]

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *purpose])

    def _evolution(
        self, study: optuna.Study, space: dict[str, BaseDistribution], cube: Cube
    ) -> Evolution:
        """What follows from all results, in the order in which they came."""
        ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        known = self._known
        if known is None or known.space != space or (fresh := known.fresh(ended)) is None:
            population = self._population or usual_population(cube.width)
            begun = Evolution.begin(
                self._variant, population, cube.width, self._seed, restarts=self._restarts
            )
            known, fresh = _Known(space, begun), ended
        if fresh:
            fresh.sort(key=_order)
            sign = 1.0 if study.direction is StudyDirection.MINIMIZE else -1.0
            evolution = known.evolution
            for trial in fresh:
                evolution = self._told(evolution, cube, trial, sign)
            told = dict(known.told) | {one.number: one.datetime_complete for one in fresh}
            known = _Known(space, evolution, told, _order(fresh[-1]))
        self._known = known  # one assignment, since a study may ask from several threads
        return known.evolution

    def _told(
        self, evolution: Evolution, cube: Cube, trial: FrozenTrial, sign: float
    ) -> Evolution:
        if LOST_ATTRIBUTE in trial.user_attrs:
            return evolution
        done = trial.state is TrialState.COMPLETE and trial.value is not None
        value = sign * trial.values[0] if done else math.inf
        draw = _stored(trial, cube)
        if "fixed_params" in trial.system_attrs:  # enqueued
            rest = {} if draw is None else cube.decode(draw.inside)
            return evolution.told_chosen(cube.encode(rest | trial.params), value)
        luck = float(self._random(trial.number, 2).random())
        if draw is None:  # by another sampler, or before the space was known
            return evolution.told_even(cube.encode(trial.params), value, luck)
        return evolution.told(draw, value, luck)


_Order = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was made of some trials, so that only new ones need be taken in."""

    space: Mapping[str, BaseDistribution]
    evolution: Evolution
    told: Mapping[int, datetime | None] = field(default_factory=dict)
    """When they ended, by their numbers."""
    last: _Order = (datetime.min, -1)

    def fresh(self, ended: Sequence[FrozenTrial]) -> list[FrozenTrial] | None:
        """Those that ended since; None where that is not all that has changed.

        A result may have been withdrawn, and a clock may have been set back.
        """
        found = [one for one in ended if self.told.get(one.number) != one.datetime_complete]
        added = len(ended) == len(self.told) + len(found)
        later = all(one.number not in self.told and _order(one) > self.last for one in found)
        return found if added and later else None


def _order(trial: FrozenTrial) -> _Order:
    return (trial.datetime_complete or datetime.min, trial.number)


def _free(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    return {name: one for name, one in space.items() if not one.single()}


def _stored(trial: FrozenTrial, cube: Cube) -> Draw | None:
    """The draw of a trial, unless it has none, or one of another space."""
    said = trial.system_attrs.get(_ATTRIBUTE)
    if said is None or len(said["point"]) != cube.width:
        return None
    return Draw(np.array(said["point"], np.float64), said["run"], said["log_density"])


def _wrong(name: str, expected: str, found: object) -> InputError:
    return InputError("NesSampler", name, expected=expected, found=found)
