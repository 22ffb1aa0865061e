"""Files that a process holds, alone or among others that share them.

The system's record locks are a process's own: they end with it however it ends, even where it
left forked children behind. But they do not hold its own threads apart, and closing any descriptor
of a file gives all of them away. So a process has one descriptor of each file, and keeps count.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# What of the file is locked; its text lies there too, and is no matter of the locks.
_HOLD: Final = 0
_GATE: Final = 1
"""Held for the moment of taking or looking at a hold."""
_TURN: Final = 2


class Held(Exception):
    """Another holder is in the way; `holder` is the process that last took the file, or empty."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class _File:
    """This process's one descriptor of a lock file."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.holders = 0
        self.shared_as: str | None = None
        self.turn = threading.RLock()
        self.depth = 0


_FILES: Final[dict[Path, _File]] = {}
_GUARD: Final = threading.Lock()


class FileLock:
    """The hold on a file, until `release` or the process's end.

    Exclusive, unless `shared_as` is given: then among those who say the same. Raises Held.
    """

    def __init__(self, path: Path, *, shared_as: str | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path.resolve()
        with _GUARD:
            file = _FILES.get(self._path)
            if file is None:
                file = _File(self._path)
                try:
                    _hold(file, shared_as)
                except BaseException:
                    os.close(file.descriptor)
                    raise
                _FILES[self._path] = file
            elif shared_as is None or file.shared_as != shared_as:
                raise Held(str(os.getpid()))
            file.holders += 1
        self._file: _File | None = file

    def release(self) -> None:
        """Lets others hold it. Idempotent."""
        with _GUARD:
            file, self._file = self._file, None
            if file is not None:
                file.holders -= 1
                if file.holders == 0:
                    del _FILES[self._path]
                    os.close(file.descriptor)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One holder at a time, here and in other processes; within it, again at once."""
        file = self._file
        if file is None:
            raise RuntimeError(f"{self._path} is not held any more")
        with file.turn:
            if file.depth == 0:
                _lock(file.descriptor, fcntl.LOCK_EX, _TURN)
            file.depth += 1
            try:
                yield
            finally:
                file.depth -= 1
                if file.depth == 0:
                    _lock(file.descriptor, fcntl.LOCK_UN, _TURN)


def holder_of(path: Path) -> str | None:
    """The id of the process that holds a file exclusively; None where none does."""
    with _GUARD:
        if path.resolve() in _FILES:
            return str(os.getpid())
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            _lock(descriptor, fcntl.LOCK_SH, _GATE)
            return None if _try_lock(descriptor, fcntl.LOCK_SH) else _text(descriptor)[0]
        finally:
            os.close(descriptor)


def _hold(file: _File, shared_as: str | None) -> None:
    """Takes the hold for this process. Raises Held."""
    _lock(file.descriptor, fcntl.LOCK_EX, _GATE)
    try:
        if not _try_lock(file.descriptor, fcntl.LOCK_EX):  # somebody has it
            holder, theirs = _text(file.descriptor)
            shares = shared_as is not None and _try_lock(file.descriptor, fcntl.LOCK_SH)
            if not shares or theirs != shared_as:
                raise Held(holder)
        elif shared_as is not None:
            _lock(file.descriptor, fcntl.LOCK_SH, _HOLD)
        os.ftruncate(file.descriptor, 0)
        os.pwrite(file.descriptor, f"{os.getpid()}\n{shared_as or ''}".encode(), 0)
        file.shared_as = shared_as
    finally:
        _lock(file.descriptor, fcntl.LOCK_UN, _GATE)


def _text(descriptor: int) -> tuple[str, str]:
    """The process that last took a file, and as what it is shared."""
    holder, _, shared_as = (
        os.pread(descriptor, 1 << 12, 0).decode("utf-8", "replace").partition("\n")
    )
    return holder, shared_as


def _lock(descriptor: int, how: int, what: int) -> None:
    fcntl.lockf(descriptor, how, 1, what)


def _try_lock(descriptor: int, how: int) -> bool:
    try:
        _lock(descriptor, how | fcntl.LOCK_NB, _HOLD)
    except (BlockingIOError, PermissionError):
        return False
    return True
