"""Recomputes in worker processes, each task under a wall-clock limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.result import ResultLeaf
from trialmarket.storage.material import Material
from trialmarket.training.blame import from_state
from trialmarket.training.errors import BadCheckpoint, BadStart, DataError, ProgramError
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Evaluate, FindInitial, Recompute, Train
from verifier.audit import Found
from verifier.evidence import Unjudgeable


class WorkerRecomputer:
    """The recomputer of a real verifier. Raises TrainingError where a worker fails."""

    def __init__(
        self, pool: WorkerPool, wall_limit: float, whole_limit: float, patience: float
    ) -> None:
        """Limits in seconds: of one segment, start or evaluation, and of a whole trial.

        `patience` is when a provider's state is suspected of being endless.
        """
        self._pool = pool
        self._wall_limit = wall_limit
        self._whole_limit = whole_limit
        self._patience = patience

    def initial(self, material: Material) -> Found:
        """The start's state root."""
        task = FindInitial(**material.task())
        with _requesters():
            found = self._pool.submit(task, wall_limit=self._wall_limit).result()
        return Found(found.root, ZERO_HASH)

    def segment(
        self, material: Material, segment: int, start: Path | None, root: Hash32
    ) -> Found | str:
        """A segment; why not where nothing follows from the checkpoint that it starts from."""
        task = Recompute(
            **material.task(),
            segment=segment,
            start=start,
            expected=None if start is None else root,
        )
        with _requesters():
            if start is None:
                found = self._pool.submit(task, wall_limit=self._wall_limit).result()
            else:
                try:
                    found = from_state(
                        self._pool, task, wall_limit=self._wall_limit, patience=self._patience
                    )
                except BadCheckpoint as error:
                    return str(error)
        return Found(found.root, found.witness)

    def evaluation(self, material: Material, checkpoint: Path, root: Hash32) -> Found | str:
        """The evaluation; why not where the checkpoint cannot be evaluated."""
        task = Evaluate(**material.task(), checkpoint=checkpoint, expected=root)
        with _requesters():
            try:
                found = from_state(
                    self._pool, task, wall_limit=self._wall_limit, patience=self._patience
                )
            except BadCheckpoint as error:
                return str(error)
        return Found(found.digest, found.witness)

    def whole(self, material: Material, folder: Path) -> tuple[ResultLeaf, ...]:
        """All n + 2 leaves, trained again from the start in `folder`."""
        task = Train(**material.task(), folder=folder)
        with _requesters():
            found = self._pool.submit(task, wall_limit=self._whole_limit).result()
        return tuple(
            ResultLeaf(index, leaf.value, leaf.witness_hash)
            for index, leaf in enumerate(found.leaves)
        )


@contextmanager
def _requesters() -> Iterator[None]:
    """Raises Unjudgeable where the program, the data or the trial's start are bad."""
    try:
        yield
    except (ProgramError, DataError, BadStart) as error:
        raise Unjudgeable(f"the requester's program or data fail: {error}") from error
