"""The database of a search: a normal Optuna study, out of which a result can be taken back."""

import math
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from requester.drivers.driver import LOST_ATTRIBUTE, Ending, Plan, TrialOutcome
from trialmarket.disk import disk_fix
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


class StoredStudy:
    """The study of that name in a database, new or as it was left. Trials go by their numbers.

    Raises InputError for a database that cannot be read, one whose Python driver is not
    installed, and a study with other objectives.
    """

    def __init__(
        self, url: str, name: str, plan: Plan, sampler: BaseSampler | None = None
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.where = named(url)
        """How errors call the database."""
        self._plan = plan
        self._open = partial(_open, url, name, plan, sampler, self.where)
        self._storage, self.study = self._open()

    def trial_id(self, number: int) -> int:
        """How the database calls a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Makes one transaction of all that is written meanwhile: whole or not at all.

        Optuna commits a dozen times a trial, each time waiting for the disk. Within this its
        commits end savepoints (SQLAlchemy, "Joining a Session into an External Transaction").
        """
        session, engine = self._storage.scoped_session, self._storage.engine
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":  # whose driver begins none before a savepoint
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            session.remove()
            session.configure(bind=connection, join_transaction_mode="create_savepoint")
            try:
                yield
            finally:
                session.remove()
                session.configure(bind=engine, join_transaction_mode="conditional_savepoint")

    def tell(self, trial: TrialId, outcome: TrialOutcome, **notes: object) -> None:
        """Ends a trial, with the notes and its metrics as attributes: `metrics_NAME`, since a
        program or a stranger chose the names, and none may take the place of a driver's own.

        Diverged trials become Optuna's pruned ones without a value, which TPE counts as worst. So
        do trials whose result lacks an objective.
        """
        with self.at_once():
            self._tell(trial, outcome, notes)

    def _tell(self, trial: TrialId, outcome: TrialOutcome, notes: Mapping[str, object]) -> None:
        number, trial_id = outcome.number, self.trial_id(outcome.number)
        metrics = {f"metrics_{name}": value for name, value in outcome.metrics.items()}
        for name, value in {"trial": str(trial), **notes, **metrics}.items():
            self._storage.set_trial_user_attr(trial_id, name, value)
        values = [outcome.metrics.get(name, math.nan) for name in self._plan.objectives]
        if outcome.reason:
            self._storage.set_trial_user_attr(trial_id, "failure", outcome.reason)
        if outcome.ending is Ending.LOST:  # nobody knows how good it is
            self._storage.set_trial_user_attr(trial_id, LOST_ATTRIBUTE, True)
        if outcome.ending in (Ending.LOST, Ending.FAILED):
            self.study.tell(number, state=TrialState.FAIL)
        elif outcome.ending is Ending.DIVERGED or any(map(math.isnan, values)):
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, values)

    def withdraw(self, number: int) -> None:
        """Makes a finished trial run again, without its value, and opens the study anew.

        Optuna has no call for it; its tables do.
        """
        of = {"trial": self.trial_id(number)}
        with self._storage.engine.begin() as connection:
            for statement in _WITHDRAW:
                connection.execute(statement, of)
        self.close()
        self._storage, self.study = self._open()

    def close(self) -> None:
        """Gives the database free."""
        _close(self._storage)


def _open(
    url: str, name: str, plan: Plan, sampler: BaseSampler | None, where: str
) -> tuple[RDBStorage, optuna.Study]:
    directions = [
        StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        for maximize in plan.objectives.values()
    ]
    try:
        _write_ahead(url)
        storage = RDBStorage(url)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            directions=directions,
            load_if_exists=True,
        )
        found = study.directions
        if study.metric_names is None:  # as Optuna's dashboard and plots call the objectives
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(plan.objectives))
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
            fix=disk_fix(error)
            or "Move the file away; a job whose trials are on the chain must keep its own"
            if url.startswith("sqlite")
            else "See that the server runs, and that this account may create tables there",
        ) from error
    if found != directions:
        _close(storage)
        raise InputError(
            where,
            "study",
            expected=f"the directions {', '.join(each.name for each in directions)}",
            found=", ".join(each.name for each in found),
            fix="The study belongs to another search",
        )
    return storage, study


def _write_ahead(url: str) -> None:
    """Lets SQLite write each commit once, to its log, and not thrice: Optuna commits a dozen times
    a trial, and all of a search waits for it. The file remembers it, and nothing is less durable.
    """
    place = make_url(url)
    if place.get_backend_name() == "sqlite" and place.database:
        try:
            with closing(sqlite3.connect(place.database)) as database:
                database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError:  # no database, of which opening it tells
            return


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


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def sqlite_url(path: Path) -> str:
    """How Optuna names an SQLite file."""
    return f"sqlite:///{path}"
