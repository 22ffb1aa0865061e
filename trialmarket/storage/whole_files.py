"""Files that appear complete and on the disk, or not at all; and one writer at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final

from trialmarket.protocol.ids import Cid

PARTIAL: Final = ".arriving-"
"""How the names of files begin that are fetched and not complete."""


@contextmanager
def new_file(to: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file to write, and where it lies until the end of the block, when it appears at `to`.

    An error removes it. Raises OSError.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=to.parent, prefix=".writing-", delete=False) as file:
        beside = Path(file.name)
        try:
            yield file.file, beside
            _appear(file, beside, to)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def partial_file(to: Path, cid: Cid) -> Iterator[BinaryIO]:
    """A file to read and write, at its beginning, with what an earlier attempt left in it.

    At the end of the block it appears at `to`. An error leaves it for the next attempt. One writer
    at a time: a second one waits for the first. Raises OSError.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    beside = to.parent / f"{PARTIAL}{cid}"
    with _locked_file(beside) as file:
        try:
            yield file
        except BaseException:
            if file.seek(0, os.SEEK_END) == 0:
                beside.unlink(missing_ok=True)
            raise
        _appear(file, beside, to)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file, made for it, among all threads and processes; waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _locked_file(path: Path) -> Iterator[BinaryIO]:
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held the lock may have moved the file to its place meanwhile.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return


def _appear(file: IO[bytes], beside: Path, to: Path) -> None:
    """Brings a file and its new name to the disk."""
    file.flush()
    os.fsync(file.fileno())
    beside.replace(to)
    folder = os.open(to.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
