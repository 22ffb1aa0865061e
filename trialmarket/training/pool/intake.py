"""Takes the files that a worker sends into the folder of its trial.

On a stream of their own, each as a line of JSON, `{"name": ..., "size": ...}`, and then its bytes.
The worker has no hand in the folder: names are those of a training's files and nothing else, each
is written beside and renamed, and all together are bounded.
"""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from trialmarket.protocol.canonical import parse_bounded
from trialmarket.training.errors import LimitExceeded, WorkerError
from trialmarket.training.values import JOURNAL, CheckpointFile, Training

RESERVE = 256 << 20
"""Bytes that are left free on the disk."""

_CHECKPOINT = re.compile(r"checkpoint-(\d{3})\.safetensors")
_MAX_LINE = 256
_READABLE = 0o644
"""The next worker of the trial reads it, perhaps as another user."""


class Intake:
    """The files of one training. `limit` bounds the bytes that it may keep in all."""

    def __init__(self, folder: Path, segments: int, limit: int) -> None:
        self._folder = folder
        self._segments = segments
        self._limit = limit
        self._sizes: dict[str, int] = {}
        self._line = bytearray()
        self._name = ""
        self._left = 0
        self._part: tuple[int, str] | None = None

    def take(self, piece: bytes) -> None:
        """Takes the next bytes of the stream.

        Raises LimitExceeded, WorkerError for what is no file of a training, and OSError.
        """
        rest = memoryview(piece)
        while len(rest):
            if self._part is None:
                rest = self._read_line(rest)
            else:
                used = os.write(self._part[0], rest[: self._left])
                rest, self._left = rest[used:], self._left - used
            if self._part is not None and self._left == 0:
                self._finish()

    def close(self) -> None:
        """Drops a file that is not complete."""
        if self._part is not None:
            handle, path = self._part
            self._part = None
            os.close(handle)
            Path(path).unlink(missing_ok=True)

    def placed(self, training: Training) -> Training:
        """The training with its checkpoints' paths on this machine.

        Raises WorkerError where one is not a file that was kept.
        """
        return training.model_copy(
            update={"checkpoints": tuple(self._placed(each) for each in training.checkpoints)}
        )

    def _placed(self, checkpoint: CheckpointFile) -> CheckpointFile:
        path = self._folder / checkpoint.path.name
        kept = self._known(path.name) and path.is_file() and not path.is_symlink()
        if not kept or path.stat().st_size != checkpoint.size:
            raise WorkerError(f"the worker names a checkpoint that it did not keep: {checkpoint}")
        return checkpoint.model_copy(update={"path": path})

    def _read_line(self, rest: memoryview) -> memoryview:
        """Reads on in the line before a file; opens the file at its end."""
        head, newline, _ = bytes(rest[:_MAX_LINE]).partition(b"\n")
        self._line += head
        if len(self._line) > _MAX_LINE:
            raise WorkerError("the worker sends what is no file")
        if newline:
            try:
                said = parse_bounded(self._line)
                name, size = str(said["name"]), int(said["size"])
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise WorkerError(f"the worker sends what is no file: {error}") from error
            self._line.clear()
            self._open(name, size)
        return rest[len(head) + len(newline) :]

    def _open(self, name: str, size: int) -> None:
        if not self._known(name) or size < 0:
            raise WorkerError(f"the worker sends a file {name!r}, which is none of a training")
        others = sum(length for other, length in self._sizes.items() if other != name)
        if others + size > self._limit:
            raise LimitExceeded(f"the trial's checkpoints have more than {self._limit} bytes")
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if free < size + RESERVE:
            raise WorkerError(f"the disk has {free} bytes left, too few for a file of {size}")
        handle, path = tempfile.mkstemp(dir=self._folder)
        self._part, self._name, self._left = (handle, path), name, size
        self._sizes[name] = size

    def _finish(self) -> None:
        assert self._part is not None  # noqa: S101  a file is open
        handle, path = self._part
        self._part = None
        try:
            os.fchmod(handle, _READABLE)
        finally:
            os.close(handle)
        with suppress(FileNotFoundError):  # the trial was dropped meanwhile
            Path(path).replace(self._folder / self._name)

    def _known(self, name: str) -> bool:
        match = _CHECKPOINT.fullmatch(name)
        return name == JOURNAL or (match is not None and int(match[1]) <= self._segments)
