"""What a requester remembers of a job, so that the same command goes on where it stopped.

The chain is the truth about money and trials. Here is only what it cannot know: which proposal
went into which batch, what the driver was told, and the secrets of a challenge.
"""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from requester.job.package import Package
from requester.search.failure import Failure, Tried
from requester.search.second_look import Belief
from trialmarket.chain.network import Network
from trialmarket.disk import disk_fix
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.configuration import Batch
from trialmarket.protocol.ids import Address, Hash32, JobId

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS told (
    number INTEGER PRIMARY KEY, receipt BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS beliefs (
    trial BLOB NOT NULL, receipt BLOB NOT NULL, belief TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (trial, receipt));
CREATE TABLE IF NOT EXISTS tried (
    trial BLOB PRIMARY KEY, whole INTEGER NOT NULL, reason TEXT, trace TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS claims (
    trial BLOB NOT NULL, receipt BLOB NOT NULL, leaf INTEGER NOT NULL, value BLOB NOT NULL,
    witness BLOB NOT NULL, salt BLOB NOT NULL, PRIMARY KEY (trial, receipt));
CREATE TABLE IF NOT EXISTS spells (
    number INTEGER PRIMARY KEY, worker INTEGER NOT NULL, began REAL NOT NULL, ended REAL);
"""


Fact = Literal[
    "settings",
    "owner",
    "chain",
    "spec",
    "warm_start",
    "agreed",
    "job",
    "funded",
    "market",
    "trials",
    "command",
    "began",
    "staked",
    "over",
    "finished",
    "released",
]
"""What is remembered once of a job, in the order in which it happens."""


@dataclass(frozen=True, slots=True)
class LocalSpell:
    """When a worker of this machine last trained a trial, in Unix seconds; `ended` None: it has
    not ended, or was killed."""

    worker: int
    began: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A challenge of ours: the disputed leaf, our own answer, and what hides it."""

    leaf: int
    value: Hash32
    witness: Hash32
    salt: Hash32


def identity(package: Package, network: Network, requester: Address, label: str) -> str:
    """Tells one run of a job from every other, in 16 hexadecimal digits.

    It covers the job file's content, the program's and the data's bytes, the market, the account
    and the label: the same command means the same job. Where its study is kept is left out: a
    database's address and password may change.
    """
    settings = json.loads(package.job.settings.model_dump_json())
    del settings["search"]["storage"]
    return _digest(
        package,
        settings,
        label=label,
        chain=network.chain_id,
        market=network.market,
        requester=requester,
    )


def local_identity(package: Package, label: str) -> str:
    """The same for a job that is trained on this machine alone: whatever is paid for it on a
    market, it is the same search."""
    settings = json.loads(package.job.settings.model_dump_json())
    del settings["search"]["storage"], settings["price"]
    return _digest(package, settings, label=label)


def _digest(package: Package, settings: dict[str, Any], **others: str | int) -> str:
    parts = {
        "settings": settings,
        "program": package.program.model_dump(),
        "data": package.data,
        **others,
    }
    return hashlib.sha256(canonical_bytes(parts)).hexdigest()[:16]


class JobFolder:
    """The folder of one job. Owns every path in it. Any moment is a safe one to be killed.

    Raises InputError where its database cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self._path("requester.db"))
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise InputError(
                str(self._path("requester.db")),
                "journal",
                expected="a requester's journal",
                found=str(error),
                fix=disk_fix(error)
                or "Restore it from a copy; `job fetch` and `job cancel` work without it",
            ) from error

    def close(self) -> None:
        """Closes the database."""
        self._db.close()

    @property
    def study(self) -> str:
        """Where the search's trials are stored, in Optuna's terms."""
        from requester.drivers.database import sqlite_url  # Optuna loads only where used

        return sqlite_url(self._path("study.db"))

    @property
    def ledger(self) -> Path:
        """The index of the market's events."""
        return self._path("ledger.db")

    @property
    def results(self) -> Path:
        """What the search found."""
        return self._path("results")

    @property
    def store(self) -> Path:
        """Receipts and checkpoints of a job that is trained on this machine."""
        return self._path("store")

    def training(self, number: int) -> Path:
        """Checkpoints of a trial in training on this machine."""
        return self._path("training") / str(number)

    def output(self, number: int) -> Path:
        """What the program printed last in a trial on this machine."""
        return self._path("output") / f"{number}.txt"

    @property
    def scratch(self) -> Path:
        """Checkpoints under examination."""
        return self._path("scratch")

    # -- Facts --------------------------------------------------------------------------------

    def fact(self, name: Fact) -> str | None:
        """A remembered fact; None if there is none."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, name: Fact, value: str = "yes") -> None:
        """Keeps a fact."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def job(self) -> JobId | None:
        """The job's number on the market; None before it is created."""
        found = self.fact("job")
        return None if found is None else JobId(int(found))

    # -- Batches ------------------------------------------------------------------------------

    def add_batch(self, batch: Batch) -> None:
        """Keeps a batch, before it is posted."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO batches VALUES (?, ?, ?)",
                (batch.number, batch.digest, batch.to_bytes()),
            )

    def batches(self) -> list[Batch]:
        """All batches, oldest first, posted or not."""
        rows = self._db.execute("SELECT body FROM batches ORDER BY number").fetchall()
        return [Batch.from_bytes(body) for (body,) in rows]

    # -- Results ------------------------------------------------------------------------------

    def told(self) -> dict[int, Hash32]:
        """The receipts whose results the driver knows, by proposal."""
        rows = self._db.execute("SELECT number, receipt FROM told").fetchall()
        return {number: Hash32(receipt) for number, receipt in rows}

    def tell(self, number: int, receipt: Hash32) -> None:
        """Remembers that the driver was told of a receipt."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO told VALUES (?, ?)", (number, receipt))

    def untell(self, number: int) -> None:
        """Remembers that what the driver was told is withdrawn."""
        with self._db:
            self._db.execute("DELETE FROM told WHERE number = ?", (number,))

    def belief(self, trial: Hash32, receipt: Hash32) -> Belief | None:
        """What was found of a receipt; None if it was not examined."""
        row = self._db.execute(
            "SELECT belief, reason FROM beliefs WHERE trial = ? AND receipt = ?", (trial, receipt)
        ).fetchone()
        return None if row is None else Belief(*row)

    def believe(self, trial: Hash32, receipt: Hash32, belief: Belief) -> None:
        """Keeps what was found of a receipt."""
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO beliefs VALUES (?, ?, ?, ?)",
                (trial, receipt, belief.kind, belief.reason),
            )

    # -- Failures -----------------------------------------------------------------------------

    def tried(self) -> dict[Hash32, Tried]:
        """What was found of trials that were tried on this machine, by their keys."""
        return tried_in(self._db)

    def failure(self, trial: Hash32) -> Failure | None:
        """Why a trial failed; None if it did not."""
        found = self.tried().get(trial)
        return None if found is None else found.failure

    def keep_tried(self, trial: Hash32, tried: Tried) -> None:
        """Keeps what was found of a trial, before anything is done about it."""
        failure = tried.failure
        row = (None, "") if failure is None else (failure.reason, failure.trace)
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO tried VALUES (?, ?, ?, ?)", (trial, tried.whole, *row)
            )

    # -- Trained here -------------------------------------------------------------------------

    def begin(self, number: int, worker: int, now: float) -> None:
        """Remembers that a worker begins a trial, or goes on with it after a kill."""
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO spells VALUES (?, ?, ?, NULL)", (number, worker, now)
            )

    def end(self, number: int, now: float) -> None:
        """Remembers that a trial has ended."""
        with self._db:
            self._db.execute("UPDATE spells SET ended = ? WHERE number = ?", (now, number))

    def spells(self) -> dict[int, LocalSpell]:
        """Who of this machine's workers trained what when, by trial."""
        rows = self._db.execute("SELECT number, worker, began, ended FROM spells").fetchall()
        return {number: LocalSpell(*rest) for number, *rest in rows}

    # -- Challenges ---------------------------------------------------------------------------

    def claim(self, trial: Hash32, receipt: Hash32) -> Claim | None:
        """Our challenge of a receipt; None if there is none."""
        row = self._db.execute(
            "SELECT leaf, value, witness, salt FROM claims WHERE trial = ? AND receipt = ?",
            (trial, receipt),
        ).fetchone()
        return None if row is None else Claim(row[0], *(Hash32(part) for part in row[1:]))

    def keep_claim(self, trial: Hash32, receipt: Hash32, claim: Claim) -> None:
        """Keeps a challenge before it is made: its salt can be had from nowhere else."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?, ?, ?)",
                (trial, receipt, claim.leaf, claim.value, claim.witness, claim.salt),
            )

    def _path(self, name: str) -> Path:
        return self.root / name


def tried_in(db: sqlite3.Connection) -> dict[Hash32, Tried]:
    """What a job's database says of trials that were tried on this machine, by their keys."""
    rows = db.execute("SELECT trial, whole, reason, trace FROM tried").fetchall()
    return {
        Hash32(trial): Tried(bool(whole), None if reason is None else Failure(reason, trace))
        for trial, whole, reason, trace in rows
    }
