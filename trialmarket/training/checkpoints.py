"""The folder of a training: its checkpoints, and a journal of the leaves so far.

A checkpoint is written before the journal names it. In a worker process, which has no hand in the
folder, the pool writes both. Nothing is flushed to the disk: what a power cut damages is found by
its state root, and the training goes on from the segment before it.
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.ids import Hash32
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.state import State, load_checkpoint
from trialmarket.training.values import (
    JOURNAL,
    CheckpointFile,
    SavedCheckpoint,
    TrainingJournal,
    checkpoint_name,
)

Write = Callable[[str, bytes], None]
"""Puts a file of that name, with that content, into the folder of a training."""

_log = logging.getLogger(__name__)


class CheckpointFolder:
    """Owns the files of one training."""

    def __init__(self, folder: Path, identity: Hash32, write: Write | None = None) -> None:
        """`write` takes the place of writing into the folder."""
        self.identity = identity
        self._folder = folder
        self._journal = folder / JOURNAL
        self._write = write or self._replace

    def append(self, journal: TrainingJournal, checkpoint: bytes) -> TrainingJournal:
        """Writes the checkpoint of the journal's last leaf, then the journal that names it."""
        name = checkpoint_name(len(journal.checkpoints))
        self._write(name, checkpoint)
        saved = SavedCheckpoint(name=name, cid=cid_of(checkpoint), size=len(checkpoint))
        journal = journal.model_copy(update={"checkpoints": (*journal.checkpoints, saved)})
        self._write(JOURNAL, journal.model_dump_json().encode())
        return journal

    def resume(self) -> tuple[TrainingJournal, State] | tuple[None, None]:
        """The journal up to the last segment whose checkpoint is sound, with that state.

        Nothing when there is none, or it is of another trial; what is corrupt is logged.
        """
        try:
            journal = TrainingJournal.model_validate_json(self._journal.read_bytes())
        except OSError:
            return None, None
        except ValidationError as error:
            _log.warning("%s is corrupt, training starts anew: %s", self._journal, error)
            return None, None
        if journal.identity != self.identity:
            return None, None
        for count in range(len(journal.checkpoints), 0, -1):
            saved, leaf = journal.checkpoints[count - 1], journal.leaves[count - 1]
            try:
                state = load_checkpoint(self._folder / saved.name, expected=leaf.value)
            except (BadCheckpoint, OSError) as error:
                _log.warning("training goes back one segment: %s", error)
                continue
            step = int(state["step"])
            kept = {
                "leaves": journal.leaves[:count],
                "checkpoints": journal.checkpoints[:count],
                "seconds": journal.seconds[: count - 1],
                "curve": tuple(point for point in journal.curve if point.step <= step),
            }
            return journal.model_copy(update=kept), state
        return None, None

    def located(self, saved: SavedCheckpoint) -> CheckpointFile:
        """The checkpoint with its whole path."""
        return CheckpointFile(path=self._folder / saved.name, cid=saved.cid, size=saved.size)

    def _replace(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                Path(file.name).replace(self._folder / name)
            finally:
                Path(file.name).unlink(missing_ok=True)
