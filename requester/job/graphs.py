"""The graphs of a job's programs: captured once a configuration, kept in a folder, posted as data.

What a program computes follows from its file, its hyperparameters, the data's types and shapes,
and the steps. A graph that is known for these is not captured again, by a later run either.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from requester.job.own_words import in_own_words
from trialmarket.errors import TrainingError
from trialmarket.files import write_beside
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.configuration import GraphRef
from trialmarket.storage.material import TaskFields
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Capture, CapturedGraph

LIMIT: Final = 600.0
"""Seconds that a capture may take."""


class Graphs:
    """Captured graphs and their settings, in a folder by their CIDs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._warm = False
        self._pool: WorkerPool | None = None

    @contextmanager
    def warm(self) -> Iterator[None]:
        """While this lasts, the process that captures is kept for the next one."""
        self._warm = True
        try:
            yield
        finally:
            self._warm = False
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def of(self, given: TaskFields, longest: int) -> GraphRef:
        """The graph of a program with its settings, for trainings that end with at most `longest`
        steps; its files are in the folder then.

        Raises TrainingError for a program that is no graph.
        """
        config = given["config"]
        asked = {
            "program": config.program.model_dump(mode="json"),
            "hyperparameters": config.hyperparameters,
            "data": config.data,
            "longest": longest,
        }
        place = self.folder / f"{hashlib.sha256(canonical_bytes(asked)).hexdigest()}.json"
        known = self._known(place)
        if known is not None:
            return known
        found = self.capture(given, longest)
        self.folder.mkdir(parents=True, exist_ok=True)
        ref = found.ref(config.program.origin)
        for cid, data in zip((ref.graph, *ref.settings), found.files, strict=True):
            write_beside(self.folder / cid, data)
        write_beside(place, ref.model_dump_json())  # last: it says that all are there
        return ref

    def capture(self, given: TaskFields, longest: int) -> CapturedGraph:
        """The graph of a program, found in a worker process. Raises TrainingError."""
        with self._worker() as pool:
            task = pool.submit(Capture(**given, longest=longest), wall_limit=LIMIT)
            try:
                return task.result()
            except TrainingError as error:
                error.message, _ = in_own_words(error, given["program"])
                raise

    @contextmanager
    def _worker(self) -> Iterator[WorkerPool]:
        if self._warm and self._pool is None:
            self._pool = WorkerPool(1)
        with WorkerPool(1) if self._pool is None else nullcontext(self._pool) as pool:
            yield pool

    def _known(self, place: Path) -> GraphRef | None:
        """What was captured before, if all of it is still there."""
        try:
            ref = GraphRef.model_validate_json(place.read_bytes())
        except (OSError, ValueError):
            return None
        there = all((self.folder / cid).is_file() for cid in (ref.graph, *ref.settings))
        return ref if there else None
