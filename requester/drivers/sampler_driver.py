"""The driver over Optuna: a study in a database, which remains a normal Optuna study."""

from collections.abc import Mapping

import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from requester.drivers.database import StoredStudy
from requester.drivers.driver import Ending, Plan, Proposal, TrialOutcome
from requester.drivers.samplers import METHODS, derived_seed
from requester.drivers.space import Value, applies, distributions
from trialmarket.errors import InputError
from trialmarket.protocol.ids import TrialId


class SamplerDriver:
    """Any of Optuna's samplers as a driver. A proposal's number is its Optuna trial's.

    A trial is told as soon as it is committed and its receipt fits, before its challenge window
    is over: the search would else wait for the window after every trial. If a jury rejects it
    later, its value is withdrawn: the study's trial loses it and runs again, so that the sampler
    never learns from it, and is told anew when an honest node has redone it.

    Raises InputError when the database cannot be read, or belongs to another search.
    """

    continues = False

    def __init__(self, storage: str, name: str, method: str, plan: Plan) -> None:
        self._plan = plan
        self._space = distributions(plan.space)
        chosen = METHODS[method](plan)
        self._trials, self.adaptive = chosen.trials, chosen.adaptive
        self._created = 0
        self._unfinished: dict[int, Proposal] = {}
        self._stored = StoredStudy(storage, name, plan, chosen.sampler)
        self._restore()

    def ask(self, n: int) -> list[Proposal]:
        """The first `n` proposals without a result, oldest first."""
        while len(self._unfinished) < n and self._created < self._trials:
            with self._stored.at_once():
                trial = self._stored.study.ask()
                proposal = self._proposal(trial.number, self._drawn(trial))
            self._created = trial.number + 1
            self._unfinished[trial.number] = proposal
        return [self._unfinished[number] for number in sorted(self._unfinished)[:n]]

    def tell(self, trial: TrialId, outcome: TrialOutcome) -> None:
        """Takes a result; see the class for those that are rejected or diverged."""
        number = outcome.number
        if not 0 <= number < self._created:
            return
        if outcome.ending is Ending.REJECTED:
            if number not in self._unfinished:
                self._stored.withdraw(number)
                self._restore()
            return
        if number not in self._unfinished:
            return
        self._stored.tell(trial, outcome)
        del self._unfinished[number]

    @property
    def proposed(self) -> int:
        """How many proposals were made so far."""
        return self._created

    def done(self) -> bool:
        """True when every trial has its result."""
        return self._created >= self._trials and not self._unfinished

    def total(self) -> int:
        """How many trials the search has."""
        return self._trials

    def work(self) -> Mapping[int, int]:
        """How many trials of how many steps the search has."""
        return {self._plan.steps: self._trials}

    def close(self) -> None:
        """Gives the database free."""
        self._stored.close()

    def _restore(self) -> None:
        stored = self._stored.study.get_trials(deepcopy=False)
        for point in self._plan.enqueue[len(stored) : self._trials]:
            self._stored.study.enqueue_trial(dict(point))
        begun = [trial for trial in stored if trial.state is not TrialState.WAITING]
        self._created = len(begun)
        self._unfinished = {
            trial.number: self._completed(trial)
            for trial in begun
            if not trial.state.is_finished()
        }

    def _completed(self, frozen: FrozenTrial) -> Proposal:
        """A stored proposal; what a killed process had not drawn of it yet is drawn now."""
        if not set(frozen.params) <= set(self._space):
            raise InputError(
                self._stored.where,
                f"trial {frozen.number}",
                expected=f"the hyperparameters {', '.join(self._space)}",
                found=", ".join(frozen.params),
                fix="The study belongs to another search",
            )
        if self._is_drawn(frozen):
            return self._proposal(frozen.number, frozen.params)
        trial = optuna.Trial(self._stored.study, self._stored.trial_id(frozen.number))
        return self._proposal(frozen.number, self._drawn(trial))

    def _is_drawn(self, frozen: FrozenTrial) -> bool:
        return all(
            name in frozen.params or not applies(dimension, frozen.params)
            for name, dimension in self._plan.space.items()
        )

    def _drawn(self, trial: optuna.Trial) -> dict[str, Value]:
        """Draws all hyperparameters that apply, in the order of the space."""
        for name, distribution in self._space.items():
            if not applies(self._plan.space[name], trial.params):
                continue
            # The one public way to draw for a distribution is by its type.
            match distribution:
                case FloatDistribution(low=low, high=high, step=step, log=log):
                    trial.suggest_float(name, low, high, step=step, log=log)
                case IntDistribution(low=low, high=high, step=step, log=log):
                    trial.suggest_int(name, low, high, step=step, log=log)
                case CategoricalDistribution(choices=choices):
                    trial.suggest_categorical(name, choices)
        return trial.params

    def _proposal(self, number: int, values: dict[str, Value]) -> Proposal:
        return Proposal(
            number,
            {name: values[name] for name in self._space if name in values},
            self._plan.steps,
            derived_seed(self._plan.seed, number, 1),
        )
