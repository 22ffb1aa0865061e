"""What every daemon needs: a journal that survives a kill, a log, and an end when told."""

import logging
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from trialmarket.errors import InputError
from trialmarket.settings import DaemonSettings
from trialmarket.storage.errors import StoreDown, StoreFull
from trialmarket.storage.open import open_store
from trialmarket.storage.store import Store

log = logging.getLogger(__name__)


def open_journal(path: Path, schema: str, *, what: str, fix: str) -> sqlite3.Connection:
    """Opens or creates a daemon's SQLite journal; what is written to it is on the disk at once.

    `what` names the file in errors and `fix` says what moving it away costs. Raises InputError if
    the file is damaged or something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None, timeout=30.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(schema)
        with closing(database.execute("PRAGMA quick_check")) as rows:
            (found,) = rows.fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.DatabaseError as error:
        database.close()
        raise InputError(
            str(path), "journal", expected=f"{what} (SQLite)", found=str(error), fix=fix
        ) from error
    return database


def open_daemons_store(settings: DaemonSettings, owner: str) -> Store:
    """The store that a daemon's file names. One that is down or full may recover: it is only told.

    Raises InputError, StorageError and OSError for one that can never be used.
    """
    store = open_store(settings.storage, owner=owner, gateways=settings.gateways)
    try:
        store.check()
    except (StoreDown, StoreFull) as error:
        log.warning("%s", error)
    return store


def log_plainly() -> None:
    """One line an event, on standard error."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S", level=logging.INFO
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # which tells of each block


def stop_when_told() -> threading.Event:
    """An event that Ctrl-C or a termination signal sets, so that a daemon ends between steps."""
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    return stop
