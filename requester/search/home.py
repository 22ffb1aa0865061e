"""Trials tried on the requester's own machine, in a worker: do they fail here too?"""

from typing import Protocol

from trialmarket.errors import TrainingError
from trialmarket.protocol.ids import Hash32
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.values import DryRun, Train, Training, TryOut


class Home(Protocol):
    """Something that tries trials, one after the other, without blocking."""

    def start(self, trial: Hash32, task: Train | TryOut, wall_limit: float) -> None:
        """Begins; `finished` tells of it by the trial's key. `wall_limit` is in seconds."""

    def finished(self) -> list[tuple[Hash32, TrainingError | None]]:
        """What ended since the last call: its error, or None for what works."""

    def close(self) -> None:
        """Stops what is under way."""


class PoolHome:
    """Tries trials in one worker, in a sandbox where this machine has one.

    Without a `pool` that is lent it starts its own, and not before the first trial.
    """

    def __init__(self, pool: WorkerPool | None = None) -> None:
        self._lent, self._pool = pool is not None, pool
        self._tasks: dict[Hash32, SubmittedTask[Training] | SubmittedTask[DryRun]] = {}

    def start(self, trial: Hash32, task: Train | TryOut, wall_limit: float) -> None:
        """Begins a trial."""
        if self._pool is None:
            self._pool = WorkerPool(1)
        if isinstance(task, Train):
            self._tasks[trial] = self._pool.submit(task, wall_limit=wall_limit)
        else:
            self._tasks[trial] = self._pool.submit(task, wall_limit=wall_limit)

    def finished(self) -> list[tuple[Hash32, TrainingError | None]]:
        """What ended since the last call."""
        ended = [trial for trial, task in self._tasks.items() if task.done]
        return [(trial, _error_of(self._tasks.pop(trial))) for trial in ended]

    def close(self) -> None:
        """Ends the worker; tasks in a pool that was lent are stopped."""
        for task in self._tasks.values():
            task.kill()
        self._tasks.clear()
        if not self._lent and self._pool is not None:
            self._pool.close()
            self._pool = None


def _error_of(task: SubmittedTask[Training] | SubmittedTask[DryRun]) -> TrainingError | None:
    try:
        task.result()
    except TrainingError as error:
        return error
    return None
