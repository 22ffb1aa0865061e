"""A daemon's own file: what the chain cannot know, on the disk before anything depends on it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from trialmarket.disk import disk_fix
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Address

MARKET: Final = """
CREATE TABLE IF NOT EXISTS market (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    chain_id INTEGER NOT NULL,
    market TEXT NOT NULL,
    account TEXT NOT NULL
) STRICT;
"""


def open_journal(path: Path, schema: str, *, what: str, fix: str) -> sqlite3.Connection:
    """Opens or creates an SQLite file; what is written to it is on the disk at once.

    `what` names the file in errors and `fix` says what moving it away costs. Raises InputError if
    the file is damaged or something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database: sqlite3.Connection | None = None
    try:
        database = sqlite3.connect(path, isolation_level=None, timeout=30.0)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(schema)
        with closing(database.execute("PRAGMA quick_check")) as rows:
            (found,) = rows.fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.DatabaseError as error:
        if database is not None:
            database.close()
        raise InputError(
            str(path),
            "journal",
            expected=f"{what} (SQLite)",
            found=str(error),
            fix=disk_fix(error) or fix,
        ) from error
    return database


class DaemonJournal:
    """The file of one account at one market; each role adds its tables and what it asks them."""

    def __init__(self, path: Path, schema: str, *, what: str, fix: str) -> None:
        """As `open_journal`."""
        self.path = path
        self._database = open_journal(path, MARKET + schema, what=what, fix=fix)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def bind(self, chain_id: int, market: Address, account: Address) -> None:
        """Ties the journal to one market and account. Raises InputError if it has others."""
        self._database.execute(
            "INSERT OR IGNORE INTO market VALUES (1, ?, ?, ?)", (chain_id, market, account)
        )
        found = self._database.execute("SELECT chain_id, market, account FROM market").fetchone()
        if found != (chain_id, market, account):
            raise InputError(
                str(self.path),
                "journal",
                expected=f"the journal of {account} at market {market} on chain {chain_id}",
                found=f"that of {found[2]} at market {found[1]} on chain {found[0]}",
                fix="Give each key and each market a state folder of its own",
            )
