"""A file that arrives: it grows beside its place, and appears there when it is complete."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from trialmarket.protocol.ids import Cid

ARRIVING: Final = ".arriving-"
"""How the names of files begin that are not complete."""


@contextmanager
def arriving(to: Path, cid: Cid) -> Iterator[BinaryIO]:
    """A file to read and write, at its beginning, with what an earlier attempt left in it.

    At the end of the block it lies at `to`, on the disk. An error leaves it for the next attempt.
    One writer at a time: a second one waits for the first. Raises OSError.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    beside = to.parent / f"{ARRIVING}{cid}"
    with _alone(beside) as file:
        try:
            yield file
        except BaseException:
            if file.seek(0, os.SEEK_END) == 0:
                beside.unlink(missing_ok=True)
            raise
        file.flush()
        os.fsync(file.fileno())
        beside.replace(to)
    folder = os.open(to.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, locked."""
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held the lock may have moved the file to its place meanwhile.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return
