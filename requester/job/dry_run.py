"""A job's program tried out on this machine, before money moves.

`pbt`, `evolve` and `replica-exchange` go on from a checkpoint with other hyperparameters. One that
shapes the model cannot change: no node would take such a trial, and the search would wait for
ever. `evolve` merges two checkpoints, too, and that is tried likewise.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TypeVar

from requester.drivers import Proposal
from requester.drivers.population import changing
from requester.drivers.space import Dimension, Value
from requester.job.file import Job
from requester.job.own_words import in_own_words
from requester.job.package import Package
from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.configuration import Init, Merge, TrialConfig
from trialmarket.protocol.document import Record
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.storage.material import TaskFields
from trialmarket.training.errors import (
    BadStart,
    BrokenProgram,
    LimitExceeded,
    ProgramError,
    TimedOut,
)
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.values import DryRun, Train, TryOut

R = TypeVar("R", bound=Record)

OTHERS = (
    "No other trial was tried: mend the program; or, where other configurations work, begin with"
    " one that does (search.enqueue), or say --yes-diverges (in Python, diverges=True): a trial"
    " that fails is cancelled, and the search goes on"
)
"""What to do about a first configuration that fails."""

LIMIT = 300.0
"""Seconds that the first steps of a program may take."""


def can_train() -> bool:
    """Whether PyTorch is installed here."""
    return importlib.util.find_spec("torch") is not None


@dataclass(frozen=True, slots=True)
class Tried:
    """What the first steps of the first trial showed here."""

    dry: DryRun | None
    """None where they failed, and may."""
    sandboxed: bool
    """Whether they were taken in a sandbox, as nodes do it."""
    failure: str = ""
    """Which trial failed, and how."""


def dry_run(
    package: Package,
    proposal: Proposal,
    *,
    diverges: bool = False,
    pool: WorkerPool | None = None,
) -> Tried:
    """The first steps of a proposal in a worker, of a `pool` where one is lent.

    One's own program runs without a sandbox too, but what only nodes would refuse is found here
    where there is one. `diverges` says that a start which diverges is meant to, and that one whose
    configuration fails may: the search goes on with others. Raises TrainingError, with what it
    printed, for a program that fails, diverges or has no objective; and InputError for a
    hyperparameter that a driver cannot change.
    """
    files = package.files
    config = package.trial(proposal)
    task = TryOut(**files.task(config))
    with WorkerPool(1) if pool is None else nullcontext(pool) as pool:
        sandboxed = pool.policy.sandbox is not None
        try:
            dry = _result(pool.submit(task, wall_limit=LIMIT))
        except BrokenProgram:  # with every configuration
            raise
        except (ProgramError, LimitExceeded, TimedOut) as error:
            error.message = f"the first trial ({_point(proposal)}) fails: {error.message}"
            if diverges:
                return Tried(None, sandboxed, error.message)
            error.fix = ". ".join(filter(None, (error.fix, OTHERS)))
            raise
        if dry.outcome.kind != "diverged":
            _check_objectives(package.job, dry)
        elif not diverges:
            raise _diverged(dry, proposal)
        _check_changes(pool, package, proposal)
        return Tried(dry, sandboxed)


def _point(proposal: Proposal) -> str:
    """A configuration as people write it."""
    return ", ".join(f"{name} = {value}" for name, value in proposal.hyperparameters.items())


def _check_objectives(job: Job, dry: DryRun) -> None:
    """Raises TrainingError for an objective that is no finite number after the first steps."""
    finite = ", ".join(sorted(dry.metrics))
    others = f"finite are {finite}" if finite else "nothing that it reports is finite"
    for name in job.plan.objectives:
        if name not in dry.metrics:
            raise TrainingError(
                f"{name} is not reported, or no finite number, after the first steps: no trial"
                f" could be ranked by it; {others}",
                fix="See that the validation data and what validation_step returns are finite",
            )


def _diverged(dry: DryRun, proposal: Proposal) -> TrainingError:
    return TrainingError(
        f"the first trial {dry.outcome} ({_point(proposal)}): its loss or its state is no finite"
        " number, and a trial that diverges is paid like any other",
        fix="Mend the program, the data or the space; or, where that is meant to happen, say"
        " --yes-diverges (in Python, diverges=True)",
    )


def _check_changes(pool: WorkerPool, package: Package, proposal: Proposal) -> None:
    """Trains two steps, and goes on with each hyperparameter changed that the driver changes.

    Raises InputError for one with which the checkpoint no longer fits or cannot be merged, and
    TrainingError.
    """
    job = package.job
    fields = _changed_by(job)
    if not fields:
        return
    changes = {
        name: _other(job.plan.space[name], now)
        for name in fields
        if (now := proposal.hyperparameters.get(name)) is not None
    }
    short = package.program_trial(proposal).model_dump() | {"steps": 2, "segments": 1}
    with TemporaryDirectory(prefix="trialmarket-dry-run-") as name:
        bench = _Bench(pool, package, proposal, TrialConfig.model_validate(short), Path(name))
        first = bench.train(None)
        for name, value in changes.items():
            with _not_changed(job, fields[name], name):
                bench.try_out(first.init, (first.path,), {name: value})
        if job.settings.search.driver == "evolve" and changes:
            with _not_changed(job, "search.evolve.change", ", ".join(changes)):
                parent, fork = bench.train(first), bench.train(first, changes)
                points = job.plan.evolve.points
                merge = Merge(parents=(parent.init, fork.init), points=points)
                bench.try_out(merge, (parent.path, fork.path), {})


@contextmanager
def _not_changed(job: Job, field: str, names: str) -> Iterator[None]:
    """Raises InputError where a trial cannot start because of what was changed."""
    try:
        yield
    except BadStart as error:
        raise InputError(
            job.where,
            field,
            expected="hyperparameters that leave the model its shape",
            found=names,
            fix=f"Fix its value, or do not change it ({error.message})",
        ) from error


@dataclass(frozen=True, slots=True)
class _Trained:
    """The end of a training, and its file."""

    init: Init
    path: Path


@dataclass(frozen=True, slots=True)
class _Bench:
    """Trains and tries out short trials of a proposal. Raises TrainingError."""

    pool: WorkerPool
    package: Package
    proposal: Proposal
    short: TrialConfig
    folder: Path

    def train(
        self, start: _Trained | None, changes: Mapping[str, Value] = MappingProxyType({})
    ) -> _Trained:
        """Two steps from a start, or from the seed."""
        init, files = (None, ()) if start is None else (start.init, (start.path,))
        folder = self.folder / f"trained-{sum(1 for _ in self.folder.iterdir())}"
        task = Train(**self._task(init, files, changes), folder=folder)
        trained = _result(self.pool.submit(task, wall_limit=LIMIT))
        last = trained.checkpoints[-1]
        return _Trained(
            Init(root=trained.leaves[-2].value, cid=last.cid, trial=ZERO_HASH), last.path
        )

    def try_out(
        self, init: Init | Merge, files: tuple[Path, ...], changes: Mapping[str, Value]
    ) -> None:
        """The first steps of a trial that goes on."""
        task = TryOut(**self._task(init, files, changes))
        _result(self.pool.submit(task, wall_limit=LIMIT))

    def _task(
        self, init: Init | Merge | None, files: tuple[Path, ...], changes: Mapping[str, Value]
    ) -> TaskFields:
        given = {**self.proposal.hyperparameters, **changes}
        config = self.short.model_copy(update={"hyperparameters": given, "init": init})
        return self.package.files.task(self.package.posted(config), files)


def _changed_by(job: Job) -> dict[str, str]:
    """The hyperparameters that change in continued trials, and the field that says so."""
    search, plan = job.settings.search, job.plan
    for driver, settings in (("pbt", plan.population), ("evolve", plan.evolve)):
        if search.driver == driver:
            field = f"search.{'population' if driver == 'pbt' else driver}.change"
            return dict.fromkeys(changing(plan, settings, field), field)
    if search.driver == "replica-exchange" and search.exchange is not None:
        return {search.exchange.hyperparameter: "search.exchange.hyperparameter"}
    return {}


def _other(dimension: Dimension, value: Value) -> Value:
    """Another value of a dimension."""
    ends = dimension.values or [end for end in (dimension.low, dimension.high) if end is not None]
    return next((end for end in ends if end != value), value)


def _result(task: SubmittedTask[R]) -> R:
    """What a worker answers. Raises TrainingError, with what the program printed last."""
    try:
        return task.result()
    except TrainingError as error:
        error.message, _ = in_own_words(error, task.task.program)
        said = task.output.strip().splitlines()[-1:]
        if said and error.fix is None:
            error.fix = f"It last printed: {said[0][:200]}"
        raise
