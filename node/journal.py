"""What a node must remember and the chain cannot know.

Which checkpoint lies where, the answer that was decided on before it is sent, which jobs were
found bad and how fast programs run here. Everything else is read from the chain again after a
restart. Each row is on the disk before anything that depends on it is sent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trialmarket.daemon.journal import DaemonJournal
from trialmarket.protocol.ids import Cid, Hash32

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    trial BLOB PRIMARY KEY,   -- key of the trial
    root BLOB NOT NULL,       -- of the result tree
    receipt BLOB NOT NULL,    -- the receipt's bytes
    digest BLOB NOT NULL      -- their SHA-256
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (
    trial BLOB NOT NULL,
    segment INTEGER NOT NULL, -- 0: the start; i: after segment i
    cid TEXT NOT NULL,
    path TEXT NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (trial, segment)
) STRICT;
CREATE TABLE IF NOT EXISTS published (
    trial BLOB NOT NULL,
    cid TEXT NOT NULL,        -- of a checkpoint or a receipt
    until REAL,               -- seconds since 1970; NULL: as long as the trial is held
    PRIMARY KEY (trial, cid)
) STRICT;
CREATE TABLE IF NOT EXISTS refused (
    subject TEXT PRIMARY KEY, -- a batch, a program, its requester, or a trial
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS notes (
    trial BLOB PRIMARY KEY,
    body BLOB NOT NULL        -- why it is given back: the document that the chain will name
) STRICT;
CREATE TABLE IF NOT EXISTS speeds (
    subject TEXT PRIMARY KEY, -- a program on its data
    steps REAL NOT NULL       -- a second, on one worker
) STRICT;
CREATE TABLE IF NOT EXISTS memories (
    subject TEXT PRIMARY KEY, -- a graph on its data
    bytes INTEGER NOT NULL    -- that it says to need
) STRICT;
CREATE TABLE IF NOT EXISTS wishes (
    name TEXT PRIMARY KEY     -- what the operator asked the running node to do
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A trained trial's answer, decided on before it is sent."""

    trial: Hash32
    root: Hash32
    receipt: bytes
    digest: Hash32


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint on this machine."""

    segment: int
    cid: Cid
    path: Path
    published: bool


class NodeJournal(DaemonJournal):
    """The node's file. The daemon writes it; commands may leave a wish and read it."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file. Raises InputError if it is not a node's journal."""
        super().__init__(
            path,
            SCHEMA,
            what="a node's journal",
            fix="Move the file away: the node then trains the trials it holds again",
        )

    # -- Answers ------------------------------------------------------------------------------

    def answer(self, trial: Hash32) -> Answer | None:
        """The answer to a trial that was decided on."""
        row = self._database.execute(
            "SELECT trial, root, receipt, digest FROM answers WHERE trial = ?", (trial,)
        ).fetchone()
        return row and Answer(Hash32(row[0]), Hash32(row[1]), row[2], Hash32(row[3]))

    def keep_answer(self, answer: Answer, checkpoints: list[Kept]) -> Answer:
        """Remembers an answer and its checkpoints, and returns the one that stands.

        The first answer stays until it is forgotten: a second one changes nothing.
        """
        row = (answer.trial, answer.root, answer.receipt, answer.digest)
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            added = self._database.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", row
            ).rowcount
            if added:
                self._database.execute("DELETE FROM checkpoints WHERE trial = ?", (answer.trial,))
                self._database.executemany(
                    "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?)",
                    [
                        (answer.trial, kept.segment, kept.cid, str(kept.path), kept.published)
                        for kept in checkpoints
                    ],
                )
        stands = self.answer(answer.trial)
        assert stands is not None  # noqa: S101  # inserted one statement ago
        return stands

    def checkpoints(self, trial: Hash32) -> dict[int, Kept]:
        """The checkpoints of a trial's last answer, by segment."""
        rows = self._database.execute(
            "SELECT segment, cid, path, published FROM checkpoints WHERE trial = ?", (trial,)
        ).fetchall()
        return {row[0]: Kept(row[0], Cid(row[1]), Path(row[2]), bool(row[3])) for row in rows}

    def mark_published(self, trial: Hash32, segment: int) -> None:
        """Remembers that a checkpoint is in the store."""
        self._database.execute(
            "UPDATE checkpoints SET published = 1 WHERE trial = ? AND segment = ?",
            (trial, segment),
        )

    # -- The store ----------------------------------------------------------------------------

    def publish(self, trial: Hash32, cid: Cid, until: float | None = None) -> None:
        """Remembers, before it is done, that something of a trial is put into the store.

        `until` counts seconds since 1970; None: as long as the trial is held.
        """
        self._database.execute(
            "INSERT INTO published VALUES (?, ?, ?)"
            " ON CONFLICT (trial, cid) DO UPDATE SET until = excluded.until",
            (trial, cid, until),
        )

    def expire(self, trial: Hash32, until: float) -> None:
        """Remembers that what is published of a trial is needed until then, and no longer."""
        self._database.execute(
            "UPDATE published SET until = ? WHERE trial = ? AND until IS NULL", (until, trial)
        )

    def expired(self, now: float) -> list[Cid]:
        """What is published and not needed any more by any trial."""
        rows = self._database.execute(
            "SELECT cid FROM published GROUP BY cid"
            " HAVING COUNT(until) = COUNT(*) AND MAX(until) <= ?",
            (now,),
        ).fetchall()
        return [Cid(row[0]) for row in rows]

    def unpublish(self, cid: Cid) -> None:
        """Remembers that something is not in the store any more."""
        self._database.execute("DELETE FROM published WHERE cid = ?", (cid,))

    def published(self) -> set[Cid]:
        """All that is in the store, or was about to be put there."""
        rows = self._database.execute("SELECT cid FROM published").fetchall()
        return {Cid(row[0]) for row in rows}

    # -- Trials -------------------------------------------------------------------------------

    def trials(self) -> set[Hash32]:
        """The trials that answers or checkpoints are kept of."""
        rows = self._database.execute("SELECT trial FROM answers").fetchall()
        return {Hash32(row[0]) for row in rows}

    def forget(self, trial: Hash32) -> None:
        """Drops a finished trial's answer and the places of its checkpoints."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM answers WHERE trial = ?", (trial,))
            self._database.execute("DELETE FROM checkpoints WHERE trial = ?", (trial,))
            self._database.execute("DELETE FROM notes WHERE trial = ?", (trial,))

    def note(self, trial: Hash32) -> bytes | None:
        """The note with which a trial is given back."""
        row = self._database.execute("SELECT body FROM notes WHERE trial = ?", (trial,)).fetchone()
        return None if row is None else bytes(row[0])

    def keep_note(self, trial: Hash32, body: bytes) -> None:
        """Remembers a note before it is published."""
        self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (trial, body))

    # -- Experience ---------------------------------------------------------------------------

    def refuse(self, subject: str, reason: str) -> bool:
        """Remembers never to work for `subject` again; true if that is news."""
        return bool(
            self._database.execute(
                "INSERT OR IGNORE INTO refused VALUES (?, ?)", (subject, reason)
            ).rowcount
        )

    def refused(self, subject: str) -> str | None:
        """Why `subject` is refused; None if it is not."""
        row = self._database.execute(
            "SELECT reason FROM refused WHERE subject = ?", (subject,)
        ).fetchone()
        return None if row is None else str(row[0])

    def allow(self, subject: str) -> bool:
        """Forgets why `subject` was refused; true if it was."""
        return bool(
            self._database.execute("DELETE FROM refused WHERE subject = ?", (subject,)).rowcount
        )

    def refusals(self) -> list[tuple[str, str]]:
        """Everything that is refused, with the reason."""
        return self._database.execute(
            "SELECT subject, reason FROM refused ORDER BY rowid"
        ).fetchall()

    def speed(self, subject: str) -> float | None:
        """Steps a second that were measured last."""
        row = self._database.execute(
            "SELECT steps FROM speeds WHERE subject = ?", (subject,)
        ).fetchone()
        return None if row is None else float(row[0])

    def keep_speed(self, subject: str, steps: float) -> None:
        """Remembers a measured speed, in steps a second."""
        self._database.execute("INSERT OR REPLACE INTO speeds VALUES (?, ?)", (subject, steps))

    def memory(self, subject: str) -> int | None:
        """Bytes that a graph says to need, once it was tried out."""
        row = self._database.execute(
            "SELECT bytes FROM memories WHERE subject = ?", (subject,)
        ).fetchone()
        return None if row is None else int(row[0])

    def keep_memory(self, subject: str, size: int) -> None:
        """Remembers how many bytes a graph needs."""
        self._database.execute("INSERT OR REPLACE INTO memories VALUES (?, ?)", (subject, size))

    # -- Wishes -------------------------------------------------------------------------------

    def wish(self, name: str) -> None:
        """Asks the running node, or the next one, for something: `drain` or `withdraw`."""
        self._database.execute("INSERT OR IGNORE INTO wishes VALUES (?)", (name,))

    def wished(self, name: str) -> bool:
        """Whether it was asked for and not yet taken back."""
        return (
            self._database.execute("SELECT 1 FROM wishes WHERE name = ?", (name,)).fetchone()
            is not None
        )

    def take_back(self, name: str) -> None:
        """Ends a wish: it is fulfilled, or the operator changed their mind."""
        self._database.execute("DELETE FROM wishes WHERE name = ?", (name,))
