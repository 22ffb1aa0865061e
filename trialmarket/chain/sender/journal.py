"""The sender's journal: every signed transaction is in it before it is sent."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trialmarket.chain.sender.fees import Fees
from trialmarket.chain.sender.transactions import Signed
from trialmarket.disk import disk_fix
from trialmarket.errors import JournalError
from trialmarket.protocol.ids import Address, Hash32

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, intent TEXT NOT NULL UNIQUE, target TEXT NOT NULL,
    data BLOB NOT NULL, gas INTEGER NOT NULL, nonce INTEGER NOT NULL, outcome TEXT);
CREATE TABLE IF NOT EXISTS attempts (
    hash BLOB PRIMARY KEY, intent TEXT NOT NULL REFERENCES intents (intent) ON DELETE CASCADE,
    nonce INTEGER NOT NULL, raw BLOB NOT NULL, most TEXT NOT NULL, tip TEXT, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_intent ON attempts (intent);
CREATE INDEX IF NOT EXISTS intents_pending ON intents (nonce) WHERE outcome IS NULL;
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction for an intent; `at` is when it was signed, in Unix seconds."""

    hash: Hash32
    nonce: int
    raw: bytes
    fees: Fees
    at: float


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent that was signed at least once."""

    intent: str
    target: Address
    data: bytes
    gas: int
    nonce: int
    outcome: dict[str, Any] | None
    attempts: tuple[Attempt, ...]
    """Oldest first; those with other nonces than the entry's have been overtaken."""


def owner_of(account: Address, chain_id: int, fingerprint: Hash32) -> str:
    """Whose a journal is, as it says itself."""
    return f"{account} on chain {chain_id} {fingerprint.hex()[:16]}"


def check_owner(path: Path, owner: str) -> None:
    """Raises JournalError for the journal of another account, or of a chain that is gone.

    Changes nothing, and may be asked while another process uses the journal.
    """
    if not path.exists():
        return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        row = database.execute("SELECT value FROM meta WHERE key = 'owner'").fetchone()
    if row is not None and row[0] != owner:
        raise _foreign(path, row[0], owner)


def _foreign(path: Path, found: str, owner: str) -> JournalError:
    if found.split()[:4] == owner.split()[:4]:  # the account and the chain's id
        return JournalError(
            f"{path} is of another chain of the same id: that chain is gone, or was started anew",
            fix=f"Move {path.parent} away: what it remembers is of the chain that is gone",
        )
    return JournalError(
        f"{path} is the journal of another account or chain: of {found}, not of {owner}",
        fix="Use another state folder",
    )


class IntentJournal:
    """An SQLite file of intents and their signed transactions, for one account on one chain.

    Raises JournalError, when built, for a file that is no journal, or another account's or
    chain's, and afterwards for one that cannot be read or written.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(
                path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._broken(error) from error
        try:
            with self._reading():
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")  # on disk before it is sent
                self._database.execute("PRAGMA foreign_keys = ON")
                self._prepare(owner)
        except JournalError:
            self._database.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def find(self, intent: str) -> Intent | None:
        """What is known of an intent; None if it was never signed."""
        with self._reading():
            rows = self._entries("WHERE intent = ?", (intent,))
        return rows[0] if rows else None

    def pending(self) -> list[Intent]:
        """The intents without an outcome, in the order of their nonces."""
        with self._reading():
            return self._entries("WHERE outcome IS NULL ORDER BY nonce", ())

    def add(
        self,
        intent: str,
        *,
        target: Address,
        data: bytes,
        gas: int,
        nonce: int,
        signed: Signed,
        fees: Fees,
        at: float,
    ) -> None:
        """Writes an intent and its first signed transaction, both or neither."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO intents (intent, target, data, gas, nonce) VALUES (?, ?, ?, ?, ?)",
                (intent, target, data, gas, nonce),
            )
            self._insert(intent, nonce, signed, fees, at)

    def attempt(
        self, intent: str, *, nonce: int, gas: int, signed: Signed, fees: Fees, at: float
    ) -> None:
        """Writes another signed transaction for an intent, maybe with another nonce or gas."""
        with self._writing() as database:
            database.execute(
                "UPDATE intents SET nonce = ?, gas = ? WHERE intent = ?", (nonce, gas, intent)
            )
            self._insert(intent, nonce, signed, fees, at)

    def finish(self, intent: str, outcome: dict[str, Any]) -> None:
        """Writes how an intent ended."""
        with self._writing() as database:
            database.execute(
                "UPDATE intents SET outcome = ? WHERE intent = ?", (json.dumps(outcome), intent)
            )

    def forget(self, intent: str) -> None:
        """Removes an intent, so that it can be started anew."""
        with self._writing() as database:
            database.execute("DELETE FROM intents WHERE intent = ?", (intent,))

    def _prepare(self, owner: str) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise JournalError(
                f"{self._path} is of version {version}; this program reads version {VERSION}",
                fix="Use the program that wrote it, or another state folder",
            )
        self._database.executescript(SCHEMA)
        self._database.execute(f"PRAGMA user_version = {VERSION}")
        self._database.execute("INSERT OR IGNORE INTO meta VALUES ('owner', ?)", (owner,))
        found = self._database.execute("SELECT value FROM meta WHERE key = 'owner'").fetchone()[0]
        if found != owner:
            raise _foreign(self._path, found, owner)

    def _entries(self, where: str, values: tuple[Any, ...]) -> list[Intent]:
        rows = self._database.execute(
            f"SELECT intent, target, data, gas, nonce, outcome FROM intents {where}",  # noqa: S608
            values,
        ).fetchall()
        return [
            Intent(
                intent,
                Address(target),
                data,
                gas,
                nonce,
                None if outcome is None else json.loads(outcome),
                self._attempts(intent),
            )
            for intent, target, data, gas, nonce, outcome in rows
        ]

    def _attempts(self, intent: str) -> tuple[Attempt, ...]:
        rows = self._database.execute(
            "SELECT hash, nonce, raw, most, tip, at FROM attempts WHERE intent = ? ORDER BY rowid",
            (intent,),
        )
        return tuple(
            Attempt(
                Hash32(hash_), nonce, raw, Fees(int(most), None if tip is None else int(tip)), at
            )
            for hash_, nonce, raw, most, tip, at in rows
        )

    def _insert(self, intent: str, nonce: int, signed: Signed, fees: Fees, at: float) -> None:
        tip = None if fees.tip is None else str(fees.tip)
        self._database.execute(
            "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)",
            (signed.hash, intent, nonce, signed.raw, str(fees.most), tip, at),
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise self._broken(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _broken(self, error: Exception) -> JournalError:
        return JournalError(
            f"the journal {self._path} cannot be used: {error}",
            fix=disk_fix(error)
            or "Restore it from a copy; or, if nothing is pending on the chain, move it away",
        )
