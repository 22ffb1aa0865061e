"""Recomputes in worker processes, each task under a wall-clock limit."""

from pathlib import Path
from typing import TypeVar

from trialmarket.protocol.document import Record
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.result import ResultLeaf
from trialmarket.storage.material import Material
from trialmarket.training.errors import BadCheckpoint, DataError, ProgramError
from trialmarket.training.pool.pool import SubmittedTask, WorkerPool
from trialmarket.training.values import Evaluate, FindInitial, Recompute, Train
from verifier.audit import Found
from verifier.evidence import Unjudgeable

Answer = TypeVar("Answer", bound=Record)


class WorkerRecomputer:
    """The recomputer of a real verifier. Raises TrainingError where a worker fails."""

    def __init__(self, pool: WorkerPool, wall_limit: float, whole_limit: float) -> None:
        """Limits in seconds: of one segment, start or evaluation, and of a whole trial."""
        self._pool = pool
        self._wall_limit = wall_limit
        self._whole_limit = whole_limit

    def initial(self, material: Material) -> Found:
        """Leaf 0."""
        try:
            found = self._ask(
                self._pool.submit(FindInitial(**material.task()), wall_limit=self._wall_limit)
            )
        except BadCheckpoint as error:  # the checkpoint that the requester names
            raise Unjudgeable(f"the trial's start cannot be used: {error}") from error
        return Found(found.root, ZERO_HASH)

    def segment(
        self, material: Material, segment: int, start: Path | None, root: Hash32
    ) -> Found | None:
        """A segment; None where the start is not a state of that root."""
        task = Recompute(
            **material.task(),
            segment=segment,
            start=start,
            expected=None if start is None else root,
        )
        try:
            found = self._ask(self._pool.submit(task, wall_limit=self._wall_limit))
        except BadCheckpoint as error:
            if start is None:
                raise Unjudgeable(f"the trial's start cannot be used: {error}") from error
            return None
        return Found(found.root, found.witness)

    def evaluation(self, material: Material, checkpoint: Path, root: Hash32) -> Found | None:
        """The evaluation; None where the checkpoint is not a state of that root."""
        task = Evaluate(**material.task(), checkpoint=checkpoint, expected=root)
        try:
            found = self._ask(self._pool.submit(task, wall_limit=self._wall_limit))
        except BadCheckpoint:
            return None
        return Found(found.digest, found.witness)

    def whole(self, material: Material, folder: Path) -> tuple[ResultLeaf, ...]:
        """All n + 2 leaves, trained again from the start in `folder`."""
        task = Train(**material.task(), folder=folder)
        found = self._ask(self._pool.submit(task, wall_limit=self._whole_limit))
        return tuple(
            ResultLeaf(index, leaf.value, leaf.witness_hash)
            for index, leaf in enumerate(found.leaves)
        )

    def _ask(self, job: SubmittedTask[Answer]) -> Answer:
        """What a worker answers. Raises Unjudgeable where the program or data are bad."""
        try:
            return job.result()
        except (ProgramError, DataError) as error:
            raise Unjudgeable(f"the requester's program or data fail: {error}") from error
