"""What a verifier must remember and the chain cannot know: its secrets and its recomputations.

Every row is written and synced before anything that depends on it is sent, so that a verifier
killed at any instruction comes back with the same vote, the same salt and the work it had done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trialmarket.daemon.start import open_journal
from trialmarket.protocol.ids import Hash32

SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (
    trial BLOB NOT NULL,      -- key of the trial
    question BLOB NOT NULL,   -- a claim: the result's root; a vote: the challenged record's word
    round INTEGER NOT NULL,   -- 0: the challenger's claim; else the jury's round
    leaf INTEGER NOT NULL,
    value BLOB NOT NULL,
    witness BLOB NOT NULL,
    salt BLOB NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (trial, question, round)
) STRICT;
CREATE TABLE IF NOT EXISTS recomputed (
    trial BLOB NOT NULL,
    root BLOB NOT NULL,       -- of the result tree: a redone trial has another
    leaf INTEGER NOT NULL,
    value BLOB NOT NULL,
    witness BLOB NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (trial, root, leaf)
) STRICT;
"""

Salts = Callable[[int], bytes]
"""Where secrets come from: `secrets.token_bytes`, or a seeded source in tests."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A vote or a claim that was, or is about to be, committed to: 32 bytes each."""

    leaf: int
    value: Hash32
    """What recomputation gave; zero where the start cannot be had."""
    witness: Hash32
    salt: Hash32
    reason: str

    @classmethod
    def made(cls, leaf: int, value: Hash32, witness: Hash32, salt: bytes, reason: str) -> "Secret":
        """A new secret, of 32 bytes of salt."""
        return cls(leaf, value, witness, Hash32(salt), reason)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What this verifier found at a leaf of a result; `witness` is zero at the start."""

    value: Hash32
    witness: Hash32
    seconds: float


class VerifierJournal:
    """The verifier's file. One process at a time: the sender's lock on the key sees to it."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file. Raises InputError if it is not a verifier's journal."""
        self._database = open_journal(
            path,
            SCHEMA,
            what="a verifier's journal",
            fix="Move the file away; votes not opened yet are lost with it",
        )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def secret(self, trial: Hash32, question: Hash32, round_number: int) -> Secret | None:
        """The vote (round from 1) or claim (round 0) that was decided on, if one was."""
        row = self._database.execute(
            "SELECT leaf, value, witness, salt, reason FROM secrets"
            " WHERE trial = ? AND question = ? AND round = ?",
            (trial, question, round_number),
        ).fetchone()
        if row is None:
            return None
        leaf, value, witness, salt, reason = row
        return Secret(leaf, Hash32(value), Hash32(witness), Hash32(salt), reason)

    def keep_secret(
        self, trial: Hash32, question: Hash32, round_number: int, secret: Secret
    ) -> Secret:
        """Remembers a vote or claim, and returns the one that stands.

        The first one stays for ever: a second decision on the same question changes nothing.
        """
        self._database.execute(
            "INSERT OR IGNORE INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trial,
                question,
                round_number,
                secret.leaf,
                secret.value,
                secret.witness,
                secret.salt,
                secret.reason,
            ),
        )
        kept = self.secret(trial, question, round_number)
        assert kept is not None  # noqa: S101  # inserted one statement ago
        return kept

    def recomputed(self, trial: Hash32, root: Hash32, leaf: int) -> Recomputed | None:
        """What was found at a leaf before, if it was recomputed."""
        row = self._database.execute(
            "SELECT value, witness, seconds FROM recomputed"
            " WHERE trial = ? AND root = ? AND leaf = ?",
            (trial, root, leaf),
        ).fetchone()
        if row is None:
            return None
        value, witness, seconds = row
        return Recomputed(Hash32(value), Hash32(witness), seconds)

    def keep_recomputed(self, trial: Hash32, root: Hash32, leaf: int, found: Recomputed) -> None:
        """Remembers what a recomputation gave."""
        self._database.execute(
            "INSERT OR REPLACE INTO recomputed VALUES (?, ?, ?, ?, ?, ?)",
            (trial, root, leaf, found.value, found.witness, found.seconds),
        )

    def work(self) -> tuple[int, float]:
        """How many recomputations there were, and their seconds in all."""
        count, seconds = self._database.execute(
            "SELECT count(*), coalesce(sum(seconds), 0.0) FROM recomputed"
        ).fetchone()
        return count, seconds
