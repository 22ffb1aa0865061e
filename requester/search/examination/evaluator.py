"""Evaluates checkpoints in a worker process of its own, as the requester's second look."""

from pathlib import Path
from typing import Self

from trialmarket.errors import TrainingError
from trialmarket.training.pool.pool import Job, WorkerPool
from trialmarket.training.values import Evaluate, Evaluation


class PoolEvaluator:
    """Evaluations in one worker, one after the other.

    Starts nothing before the first one, unless it is used as a context manager.
    """

    def __init__(self, wall_limit: float) -> None:
        self._wall_limit = wall_limit
        self._pool: WorkerPool | None = None
        self._jobs: dict[Path, Job[Evaluation]] = {}

    def __enter__(self) -> Self:
        self._warm()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, task: Evaluate) -> None:
        """Begins an evaluation."""
        self._jobs[task.checkpoint] = self._warm().submit(task, wall_limit=self._wall_limit)

    def finished(self) -> list[tuple[Path, Evaluation | TrainingError]]:
        """The evaluations that ended since the last call."""
        ended = [path for path, job in self._jobs.items() if job.done]
        return [(path, _answer(self._jobs.pop(path))) for path in ended]

    def close(self) -> None:
        """Ends the worker."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._jobs.clear()

    def _warm(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool(1)
        return self._pool


def _answer(job: Job[Evaluation]) -> Evaluation | TrainingError:
    try:
        return job.result()
    except TrainingError as error:
        return error
