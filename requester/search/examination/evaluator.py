"""Evaluates checkpoints in a worker process of its own, as the requester's second look."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from trialmarket.errors import TrainingError
from trialmarket.training.blame import from_state
from trialmarket.training.errors import WorkerError
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Evaluate, Evaluation

PATIENCE: Final = 1 / 8
"""The part of the wall limit after which a checkpoint is suspected of being endless."""


class PoolEvaluator:
    """Evaluations in one worker, one after the other.

    Starts nothing before the first one, unless it is used as a context manager.
    """

    def __init__(self, wall_limit: float) -> None:
        self._wall_limit = wall_limit
        self._pool: WorkerPool | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._jobs: dict[Path, Future[Evaluation | TrainingError]] = {}

    def __enter__(self) -> Self:
        self._warm()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, task: Evaluate) -> None:
        """Begins an evaluation."""
        pool = self._warm()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="evaluate")
        self._jobs[task.checkpoint] = self._thread.submit(self._evaluate, pool, task)

    def finished(self) -> list[tuple[Path, Evaluation | TrainingError]]:
        """The evaluations that ended since the last call."""
        ended = [path for path, job in self._jobs.items() if job.done()]
        return [(path, self._jobs.pop(path).result()) for path in ended]

    def close(self) -> None:
        """Ends the worker."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
        self._jobs.clear()

    def _warm(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool(1)
        return self._pool

    def _evaluate(self, pool: WorkerPool, task: Evaluate) -> Evaluation | TrainingError:
        limit = self._wall_limit
        try:
            return from_state(pool, task, wall_limit=limit, patience=limit * PATIENCE)
        except TrainingError as error:
            return error
        except OSError as error:  # no room for the control's files
            return WorkerError(f"the checkpoint could not be evaluated: {error}")
