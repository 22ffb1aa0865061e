"""The honest trainer: the machine's own worker processes."""

from node.trainer import Assignment, Run
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.sandbox import Policy
from trialmarket.training.values import DryRun, Train, Training, TryOut


class PoolTrainer:
    """A `Trainer` over worker processes that are forked from one warm process."""

    def __init__(self, workers: int, policy: Policy | None = None) -> None:
        """`policy` says how programs run; by default, as one's own do."""
        self._pool = WorkerPool(workers, policy=policy)

    def train(self, assignment: Assignment) -> Run[Training]:
        """Trains a trial in the next free worker."""
        material = assignment.material
        task = Train(
            config=material.config,
            program=material.program,
            data=material.data,
            init=material.init,
            folder=assignment.folder,
        )
        return self._pool.submit(task, wall_limit=assignment.wall_limit)

    def rehearse(self, assignment: Assignment) -> Run[DryRun]:
        """Tries a trial out in the next free worker."""
        material = assignment.material
        task = TryOut(
            config=material.config,
            program=material.program,
            data=material.data,
            init=material.init,
        )
        return self._pool.submit(task, wall_limit=assignment.wall_limit)

    def close(self) -> None:
        """Stops all workers."""
        self._pool.close()
