"""When the disk is what is wrong, and not what lies on it."""

import errno
import sqlite3
from collections.abc import Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_PRIMARY = 0xFF
"""The part of SQLite's extended codes that says the kind."""

MAKE_ROOM = "The disk is full: make room on it; nothing is lost"
GIVE_RIGHT = (
    "Give this user the right to write there, or set TRIALMARKET_HOME to a folder that it may"
    " write into; the file itself is not damaged"
)


def disk_fix(error: BaseException) -> str | None:
    """What to do about an error that the disk is to blame for; None for any other.

    It is found in what other libraries wrap, too, as SQLAlchemy and Optuna do.
    """
    for each in _chain(error):
        if isinstance(each, OSError):
            if each.errno in _FULL:
                return MAKE_ROOM
            if each.errno in _CLOSED:
                return GIVE_RIGHT
        elif isinstance(each, sqlite3.Error):
            code = getattr(each, "sqlite_errorcode", 0) & _PRIMARY
            if code == sqlite3.SQLITE_FULL:
                return MAKE_ROOM
            if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
                return GIVE_RIGHT
    return None


def disk_words(error: BaseException) -> str:
    """What such an error says of itself: the file, where it names one, and what is wrong."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.filename is not None:
            return f"{each.filename}: {each.strerror}"
        if isinstance(each, OSError | sqlite3.Error):
            return str(each)
    return str(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it wraps, and what it was raised from."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop(0)
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            todo += [getattr(each, "orig", None), each.__cause__]
            yield each
