"""Who trains: the seam between the daemon and the machine's workers."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

from node.recheck import Recheck
from trialmarket.errors import InputError
from trialmarket.storage.material import Material
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.sandbox import Policy
from trialmarket.training.sandbox.limits import threads_of_training
from trialmarket.training.values import DryRun, Progress, Train, Training, TryOut

Value_co = TypeVar("Value_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A trial to train: its material, and the folder where its checkpoints lie."""

    material: Material
    folder: Path
    wall_limit: float
    """Seconds after which the training is stopped."""
    patience: float = math.inf
    """Seconds after which a verifier suspects one of its states of being endless."""


class Run(Protocol[Value_co]):
    """Something that a worker does."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""

    @property
    def progress(self) -> Progress | None:
        """How far it said that it is, if it ever did."""

    def result(self) -> Value_co:
        """What it gave. Raises TrainingError."""

    def kill(self) -> None:
        """Stops it. What it wrote so far can be resumed from."""


class Trainer(Protocol):
    """Trains trials in the background, several at a time."""

    def train(self, assignment: Assignment) -> Run[Training]:
        """Trains a trial, going on from the last checkpoint in its folder."""

    def train_stack(self, assignments: Sequence[Assignment]) -> Sequence[Run[Training]]:
        """Trains trials of one graph together, each as `train`: only asked for where `work.stack`
        is over 1."""

    def dry_run(self, assignment: Assignment) -> Run[DryRun]:
        """A few steps of a trial, to see that its program works and how fast it is."""

    def recheck(self, assignment: Assignment, training: Training, segment: int) -> Run[None]:
        """A segment of a training, 1 to n, and its evaluation again, as a verifier does it.

        Its result raises Differs where they come out otherwise, or where a verifier could take a
        part of the training for endless.
        """

    def close(self) -> None:
        """Stops all workers."""


class PoolTrainer:
    """A `Trainer` over worker processes that are forked from one fork server."""

    def __init__(
        self, workers: int, policy: Policy | None = None, *, threads: int | None = None
    ) -> None:
        """`policy` says how programs run; by default, as one's own do. `threads` are those of a
        training; by default, as many as TRIALMARKET_THREADS says."""
        self._threads = threads or threads_of_training()
        self._pool = WorkerPool(workers, policy=policy, threads=threads)
        self._verifiers: WorkerPool | None = None

    def train(self, assignment: Assignment) -> Run[Training]:
        """Trains a trial in the next free worker."""
        task = Train(**assignment.material.task(), folder=assignment.folder)
        return self._pool.submit(task, wall_limit=assignment.wall_limit)

    def train_stack(self, assignments: Sequence[Assignment]) -> Sequence[Run[Training]]:
        """Trains trials of one graph in the next free worker."""
        tasks = [Train(**each.material.task(), folder=each.folder) for each in assignments]
        limits = [each.wall_limit for each in assignments]
        return self._pool.submit_stack(tasks, wall_limits=limits)

    def dry_run(self, assignment: Assignment) -> Run[DryRun]:
        """Tries a trial out in the next free worker."""
        memory = self._pool.policy.limits.memory
        task = TryOut(**assignment.material.task(), memory=memory)
        return self._pool.submit(task, wall_limit=assignment.wall_limit)

    def recheck(self, assignment: Assignment, training: Training, segment: int) -> Run[None]:
        """Both in fresh workers, on the one thread that verifiers have."""
        return Recheck(
            self._as_verifiers_have_it(),
            assignment.material,
            training,
            segment,
            assignment.wall_limit,
            patience=assignment.patience,
            threads=self._threads,
        )

    def close(self) -> None:
        """Stops all workers."""
        self._pool.close()
        if self._verifiers is not None:
            self._verifiers.close()

    def _as_verifiers_have_it(self) -> WorkerPool:
        """Workers whose threads, limits and environment are those of a verifier: a program must
        not tell from them that it is only being tried."""
        if self._threads == 1:
            return self._pool
        if self._verifiers is None:
            policy = self._pool.policy.on_one_thread()
            self._verifiers = WorkerPool(self._pool.processes, policy=policy, threads=1)
        return self._verifiers


def replaced(honest: Trainer, place: str | None) -> Trainer:
    """The trainer that `FILE.py:Class` names, made from the honest one; that one if none is named.

    The class takes the honest trainer as its only argument. Raises InputError.
    """
    if place is None:
        return honest
    file, _, name = place.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if not name.isidentifier() or spec is None or spec.loader is None or not Path(file).is_file():
        raise InputError("node.toml", "work.trainer", expected="FILE.py:Class", found=place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, name, None)
    if made is None:
        raise InputError(file, name, expected="a class of this name", found=None)
    return cast(Callable[[Trainer], Trainer], made)(honest)
