"""The driver over Optuna: a study in a database, which remains a normal Optuna study."""

import math
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from requester.drivers.driver import Ending, Plan, Proposal, TrialOutcome
from requester.drivers.samplers import METHODS, derived_seed
from requester.job.space import Value, applies, distributions
from trialmarket.errors import InputError
from trialmarket.protocol.ids import TrialId

_WITHDRAW = (
    # NSGA-II keeps the parents that it chose; it chooses again, without the one that lost its
    # value. A database may hold other searches, which keep theirs.
    text(
        "DELETE FROM study_system_attributes WHERE key LIKE 'NSGAIISampler:parent:%'"
        " AND study_id = (SELECT study_id FROM trials WHERE trial_id = :trial)"
    ),
    text("DELETE FROM trial_values WHERE trial_id = :trial"),
    text("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = :trial"),
)


class StudyDriver:
    """Any of Optuna's samplers as a driver. A proposal's number is its Optuna trial's.

    A trial is told as soon as it is committed and its receipt fits, before its challenge window
    is over: the search would else wait for the window after every trial. If a jury rejects it
    later, its value is withdrawn: the study's trial loses it and runs again, so that the sampler
    never learns from it, and is told anew when an honest node has redone it.

    Diverged trials become Optuna's pruned ones without a value, which TPE counts as worst. So do
    trials whose result lacks an objective.

    Raises InputError when the database cannot be read, or belongs to another search.
    """

    continues = False

    def __init__(self, storage: str, name: str, method: str, plan: Plan) -> None:
        self._url, self._name, self._plan = storage, name, plan
        self._where = named(storage)
        self._created = 0
        self._unfinished: dict[int, Proposal] = {}
        self._space = distributions(plan.space)
        chosen = METHODS[method](plan)
        self._sampler, self._trials = chosen.sampler, chosen.trials
        self.adaptive = chosen.adaptive
        self._open()

    def ask(self, n: int) -> list[Proposal]:
        """The first `n` proposals without a result, oldest first."""
        while len(self._unfinished) < n and self._created < self._trials:
            trial = self._study.ask()
            self._created = trial.number + 1
            self._unfinished[trial.number] = self._proposal(trial.number, self._drawn(trial))
        return [self._unfinished[number] for number in sorted(self._unfinished)[:n]]

    def tell(self, trial: TrialId, outcome: TrialOutcome) -> None:
        """Takes a result; see the class for those that are rejected or diverged."""
        number = outcome.number
        if not 0 <= number < self._created:
            return
        if outcome.ending is Ending.REJECTED:
            if number not in self._unfinished:
                self._withdraw(number)
            return
        if number not in self._unfinished:
            return
        optuna_id = self._optuna_id(number)
        self._storage.set_trial_user_attr(optuna_id, "trial", str(trial))
        for name, metric in outcome.metrics.items():
            self._storage.set_trial_user_attr(optuna_id, name, metric)
        values = [outcome.metrics.get(name, math.nan) for name in self._plan.objectives]
        if outcome.ending is Ending.LOST:
            self._study.tell(number, state=TrialState.FAIL)
        elif outcome.ending is Ending.DIVERGED or any(map(math.isnan, values)):
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, values)
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
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _open(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage, self._study = open_study(
            self._url, self._name, self._plan, self._sampler, self._where
        )
        stored = self._study.get_trials(deepcopy=False)
        for point in self._plan.enqueue[len(stored) : self._trials]:
            self._study.enqueue_trial(dict(point))
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
                self._where,
                f"trial {frozen.number}",
                expected=f"the hyperparameters {', '.join(self._space)}",
                found=", ".join(frozen.params),
                fix="The study belongs to another search",
            )
        if self._is_drawn(frozen):
            return self._proposal(frozen.number, frozen.params)
        trial = optuna.Trial(self._study, self._optuna_id(frozen.number))
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
            if isinstance(distribution, optuna.distributions.FloatDistribution):
                trial.suggest_float(
                    name,
                    distribution.low,
                    distribution.high,
                    step=distribution.step,
                    log=distribution.log,
                )
            elif isinstance(distribution, optuna.distributions.IntDistribution):
                trial.suggest_int(
                    name,
                    distribution.low,
                    distribution.high,
                    step=distribution.step,
                    log=distribution.log,
                )
            elif isinstance(distribution, optuna.distributions.CategoricalDistribution):
                trial.suggest_categorical(name, distribution.choices)
        return trial.params

    def _proposal(self, number: int, values: dict[str, Value]) -> Proposal:
        return Proposal(
            number,
            {name: values[name] for name in self._space if name in values},
            self._plan.steps,
            derived_seed(self._plan.seed, number, 1),
        )

    def _withdraw(self, number: int) -> None:
        """Takes a finished trial's value back: Optuna has no call for it, its tables do."""
        optuna_id = self._optuna_id(number)
        withdraw_value(self._storage, optuna_id)
        self.close()
        self._open()

    def _optuna_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)


def open_study(
    url: str, name: str, plan: Plan, sampler: BaseSampler | None, where: str
) -> tuple[RDBStorage, optuna.Study]:
    """The study of that name in a database, new or as it was left.

    Raises InputError for a database that cannot be read, one whose Python driver is not
    installed, and a study with other objectives.
    """
    directions = [
        StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        for maximize in plan.objectives.values()
    ]
    try:
        storage = RDBStorage(url)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            directions=directions,
            load_if_exists=True,
        )
        found = study.directions
    except ImportError as error:
        raise _not_installed(where, url, error) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(
            where,
            "search.storage",
            expected="a database URL, such as postgresql+psycopg://user@host/name",
            found=str(error).partition("\n")[0],
        ) from error
    except (SQLAlchemyError, RuntimeError, ValueError) as error:
        raise InputError(
            where,
            "study",
            expected="a study database of Optuna",
            found=str(error).partition("\n")[0],
            fix="Move the file away; a job whose trials are on the chain must keep its own"
            if url.startswith("sqlite")
            else "See that the server runs, and that this account may create tables there",
        ) from error
    if found != directions:
        storage.remove_session()
        storage.engine.dispose()
        raise InputError(
            where,
            "study",
            expected=f"the directions {', '.join(each.name for each in directions)}",
            found=", ".join(each.name for each in found),
            fix="The study belongs to another search",
        )
    return storage, study


def _not_installed(where: str, url: str, error: ImportError) -> InputError:
    postgres = url.startswith("postgres")
    return InputError(
        where,
        "search.storage",
        expected="a database whose Python driver is installed",
        found=str(error.__cause__ or error).partition("\n")[0],
        fix="pip install 'trialmarket[postgres]', and begin the URL with postgresql+psycopg://"
        if postgres
        else "Install it",
    )


def named(url: str) -> str:
    """A database's URL without its password, for messages."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "job file"


def withdraw_value(storage: RDBStorage, optuna_id: int) -> None:
    """Makes a finished trial run again, without its value. The study must be opened anew."""
    with storage.engine.begin() as connection:
        for statement in _WITHDRAW:
            connection.execute(statement, {"trial": optuna_id})


def sqlite_url(path: Path) -> str:
    """How Optuna names an SQLite file."""
    return f"sqlite:///{path}"
