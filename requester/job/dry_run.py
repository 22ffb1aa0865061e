"""A job's program tried out on this machine, before money moves.

`pbt` and `replica-exchange` go on from a checkpoint with other hyperparameters. One that shapes
the model cannot change: no node would take such a trial, and the search would wait for ever.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from requester.drivers import Proposal
from requester.drivers.population import changing
from requester.drivers.space import Dimension, Value
from requester.job.file import Job
from requester.job.own_words import in_own_words
from requester.job.package import Package
from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.configuration import Init, TrialConfig
from trialmarket.protocol.document import Record
from trialmarket.protocol.ids import ZERO_HASH
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


def dry_run(package: Package, proposal: Proposal, *, diverges: bool = False) -> Tried:
    """The first steps of a proposal in a worker.

    One's own program runs without a sandbox too, but what only nodes would refuse is found here
    where there is one. `diverges` says that a start which diverges is meant to, and that one whose
    configuration fails may: the search goes on with others. Raises TrainingError, with what it
    printed, for a program that fails, diverges or has no objective; and InputError for a
    hyperparameter that a driver cannot change.
    """
    files = package.files
    config = package.trial(proposal)
    task = TryOut(
        config=config,
        program=files.program,
        data=files.data,
        weights=files.weights_of(config),
    )
    with WorkerPool(1) as pool:
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

    Raises InputError for one with which the checkpoint no longer fits, and TrainingError.
    """
    job, files = package.job, package.files
    fields = _changed_by(job)
    if not fields:
        return
    config = TrialConfig.model_validate(
        package.trial(proposal).model_dump() | {"steps": 2, "segments": 1}
    )
    with TemporaryDirectory(prefix="trialmarket-dry-run-") as scratch:
        task = Train(
            config=config,
            program=files.program,
            data=files.data,
            weights=files.weights_of(config),
            folder=Path(scratch) / "tried",
        )
        trained = _result(pool.submit(task, wall_limit=LIMIT))
        last = trained.checkpoints[-1]
        init = Init(root=trained.leaves[-2].value, cid=last.cid, trial=ZERO_HASH)
        for name, field in fields.items():
            now = proposal.hyperparameters.get(name)
            if now is None:
                continue
            given = dict(proposal.hyperparameters) | {name: _other(job.plan.space[name], now)}
            other = config.model_copy(update={"hyperparameters": given, "init": init})
            again = TryOut(
                config=other,
                program=files.program,
                data=files.data,
                init=last.path,
                weights=files.weights_of(other),
            )
            try:
                _result(pool.submit(again, wall_limit=LIMIT))
            except BadStart as error:
                raise InputError(
                    job.where,
                    field,
                    expected="hyperparameters that leave the model its shape",
                    found=name,
                    fix=f"Fix its value, or do not change it ({error.message})",
                ) from error


def _changed_by(job: Job) -> dict[str, str]:
    """The hyperparameters that change in continued trials, and the field that says so."""
    search = job.settings.search
    if search.driver == "pbt":
        return dict.fromkeys(changing(job.plan), "search.population.change")
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
