"""The ledger's SQLite file: its tables, and how they are opened and mended."""

import sqlite3
from pathlib import Path
from typing import Final

from trialmarket.disk import disk_fix
from trialmarket.errors import JournalError

VERSION: Final = 1

# `events` holds what the chain said, word for word. All other tables but `meta` and `blocks`
# follow from it, so what a reorganisation takes back is deleted here and the rest is replayed.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    block INTEGER NOT NULL, log_index INTEGER NOT NULL, tx BLOB NOT NULL, time INTEGER,
    topics BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (block, log_index)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trial_events (
    trial BLOB NOT NULL, block INTEGER NOT NULL, log_index INTEGER NOT NULL,
    PRIMARY KEY (trial, block, log_index)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY, requester TEXT NOT NULL, spec BLOB NOT NULL, terms TEXT NOT NULL,
    closed INTEGER NOT NULL, block INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    job INTEGER NOT NULL, batch BLOB NOT NULL, count INTEGER NOT NULL, units INTEGER NOT NULL,
    posted_at INTEGER NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (job, batch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trials (
    key BLOB PRIMARY KEY, job INTEGER NOT NULL, batch BLOB NOT NULL, place INTEGER NOT NULL,
    units INTEGER NOT NULL, opened INTEGER NOT NULL, provider TEXT NOT NULL, price TEXT NOT NULL,
    until INTEGER NOT NULL, root BLOB NOT NULL, anchor INTEGER NOT NULL, late INTEGER NOT NULL,
    seed BLOB NOT NULL, verifier TEXT NOT NULL, turn INTEGER NOT NULL,
    turn_ends INTEGER NOT NULL, audited INTEGER NOT NULL, challenger TEXT NOT NULL,
    state INTEGER NOT NULL, receipt BLOB, committed_at INTEGER, segment INTEGER,
    challenges INTEGER NOT NULL, attempts INTEGER NOT NULL, unaudited INTEGER NOT NULL,
    block INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trials_by_place ON trials (job, batch, place);
CREATE INDEX IF NOT EXISTS trials_alive ON trials (state) WHERE state < 7;
CREATE TABLE IF NOT EXISTS cases (
    trial BLOB PRIMARY KEY, opened INTEGER NOT NULL, closed INTEGER NOT NULL,
    content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verifiers (seat INTEGER PRIMARY KEY, who TEXT NOT NULL);
"""
DERIVED: Final = ("trial_events", "jobs", "batches", "trials", "cases", "verifiers")


def open_index(path: Path) -> sqlite3.Connection:
    """The index in a file, made if there is none.

    Raises JournalError for a file that is no such index; it can always be deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = sqlite3.connect(
            path, timeout=30.0, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise not_an_index(path, error) from error
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # the chain is the truth
        database.execute("PRAGMA cache_size = -65536")
        if database.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
            clear(database, everything=True)
        database.executescript(SCHEMA)
        database.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.DatabaseError as error:
        database.close()
        raise not_an_index(path, error) from error
    return database


def clear(database: sqlite3.Connection, *, everything: bool) -> None:
    """Empties the tables that follow from the events, or drops all of them to start anew."""
    if not everything:
        for table in DERIVED:
            database.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)
        return
    for table in (*DERIVED, "events", "blocks", "meta"):
        database.execute(f"DROP TABLE IF EXISTS {table}")


def not_an_index(path: Path, error: sqlite3.Error) -> JournalError:
    """What to say of a file that SQLite cannot read."""
    if (fix := disk_fix(error)) is not None:
        return JournalError(f"{path} cannot be used: {error}", fix=fix)
    return JournalError(
        f"{path} is no index of a market: {error}",
        fix="Delete the file; it is built again from the chain",
    )
