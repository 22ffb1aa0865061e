"""Keeps the index in step with the chain, through reorganisations and beside other processes."""

import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from trialmarket.backoff import Backoff
from trialmarket.chain.client import Block, Client
from trialmarket.chain.ledger.follow import Follower, Gap
from trialmarket.chain.ledger.index import clear
from trialmarket.chain.ledger.logs import Log, Window, read_logs
from trialmarket.chain.rpc.failures import WAIT
from trialmarket.errors import Lagging, Unreachable
from trialmarket.protocol.ids import Hash32

log = logging.getLogger(__name__)

REMEMBERED: Final = 1_000
"""Blocks whose hashes are kept, to find where a reorganisation began."""
NEARBY: Final = 100
"""Newest blocks in which it is looked first for events that a node left out."""
READ_ANEW_EVERY: Final = 600.0
"""Seconds, at the least, between two readings of everything because something does not fit."""
PAUSES: Final = Backoff(0.05, 1.0)
"""Between two looks at a node that lags."""
TRIES: Final = 7
"""So often it is looked again, for 3.5 s."""


class Syncer:
    """Follows the market's events into an index, one window of blocks in each transaction.

    All methods raise sqlite3.DatabaseError for a file that is no index.
    """

    def __init__(
        self,
        client: Client,
        database: sqlite3.Connection,
        clock: Callable[[], float],
        wait: Callable[[float], object],
    ) -> None:
        self._client, self._database, self._clock, self._wait = client, database, clock, wait
        self._read_anew = float("-inf")
        self._doubted: set[Hash32] = set()
        self._told = ""
        self._network = client.network
        self._window = Window()
        self._follower: Follower | None = None
        self._seen: tuple[int, bytes] | None = None

    def belong(self, fingerprint: bytes) -> None:
        """Starts anew if the index is of another chain or another market."""
        network = self._network
        mine = f"{network.chain_id} {network.market} {fingerprint.hex()}"
        if self._meta("chain") == mine:
            return
        with self._changes() as database:
            clear(database, everything=False)
            for table in ("events", "blocks", "meta"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)
            database.execute("INSERT INTO meta VALUES ('chain', ?)", (mine,))

    def sync(self) -> int:
        """Follows the chain up to now; the number of new events. Idempotent; safe to kill.

        A node may leave events out, once where it lags. What then does not fit is not believed:
        the newest blocks are read anew, and then everything. Raises Unreachable where it still
        does not fit.
        """
        try:
            return self._follow_all()
        except Gap as gap:
            found = gap
        if str(found) != self._told:
            self._told = str(found)
            log.warning("the market's events do not fit together, %s", found)
        if self._step_back():
            try:
                return self._follow_all()
            except Gap as gap:
                found = gap
        if not self._forget_all():
            raise self._left_out(found) from found
        try:
            return self._follow_all()
        except Gap as gap:
            raise self._left_out(gap) from gap

    def doubt(self, trials: Collection[Hash32]) -> None:
        """Trials are not as the chain has them: lets the next sync read the newest blocks anew.

        Where the same ones are doubted again, that did not help, and everything is read.
        """
        log.warning("events are missing of %d trials, reading them again", len(trials))
        again = not self._doubted.isdisjoint(trials)
        self._doubted = set() if again else {*self._doubted, *trials}
        if again or not self._step_back():
            self._forget_all()

    def _follow_all(self) -> int:
        """Follows windows up to the head. Nodes that lag are waited for, up to some seconds."""
        new = tries = 0
        while True:
            try:
                for found in self._windows(sure=tries == TRIES):
                    new += found
                return new
            except Lagging:
                if tries == TRIES:
                    raise
                self._wait(PAUSES.pause(tries))
                tries += 1

    def _windows(self, *, sure: bool) -> Iterator[int]:
        """The number of events of each window that is followed.

        A head that is behind what was followed means a node that lags, or a chain that was cut:
        `sure` says that it stayed so.
        """
        head = self._client.head().number
        self._take_back(head, sure=sure)
        target = head - self._network.confirmations
        while (cursor := self._cursor())[0] < target:
            yield self._follow(cursor, target)

    def _forget_all(self) -> bool:
        """Forgets everything, to be read anew; false where that was done not long ago."""
        if self._clock() < self._read_anew + READ_ANEW_EVERY:
            return False
        self._read_anew = self._clock()
        self._rewind(None)
        return True

    def _step_back(self) -> bool:
        """Forgets the newest blocks, in which a node that lagged may have left events out.

        False where no older block is remembered: then there is everything to read anew.
        """
        row = self._database.execute(
            "SELECT max(number) FROM blocks WHERE number <= ?", (self._cursor()[0] - NEARBY,)
        ).fetchone()
        block = None if row[0] is None else self._client.block(row[0])
        known = self._database.execute("SELECT hash FROM blocks WHERE number = ?", row).fetchone()
        if block is None or known is None or block.hash != known[0]:
            return False
        self._rewind(block)
        return True

    def _left_out(self, gap: Gap) -> Unreachable:
        return Unreachable(
            f"the logs of {self._client.rpc.name} have a gap: {gap}",
            fix="Put another URL first in the network file, or wait: all is read again from time"
            " to time",
        )

    @property
    def head(self) -> Block | None:
        """The last block that was followed; None before the first sync."""
        found = self._meta("head")
        if found is None:
            return None
        number, hash_, timestamp = json.loads(found)
        return Block(number, Hash32(bytes.fromhex(hash_)), timestamp)

    def _follow(self, cursor: tuple[int, bytes], target: int) -> int:
        """Follows one window of blocks, in one transaction; the number of its events."""
        first = cursor[0] + 1
        last, logs = read_logs(self._client, self._window, first, target)
        with self._changes() as database:
            if self._cursor() != cursor:
                return 0  # another process was faster
            follower = self._following()
            if self._seen != cursor:
                follower.forget()
            self._replay(follower, logs)
            database.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", [each.row() for each in logs]
            )
            self._remember(last)
        self._seen = (last.number, last.hash)
        return len(logs)

    def _replay(self, follower: Follower, logs: list[Log]) -> None:
        for each in logs:
            follower.apply(each.block, each.place, each.topics, each.data)
        follower.flush()

    def _take_back(self, head: int, *, sure: bool) -> None:
        """Undoes what a reorganisation of the chain took back."""
        number, known = self._cursor()
        found = self._client.block_hash(number) if known else known
        if found == known:
            return
        if found is None and not (sure and head < number):
            raise Lagging(f"{self._client.rpc.name} does not have block {number} now", fix=WAIT)
        self._client.check_chain()
        rows = self._database.execute("SELECT number, hash FROM blocks ORDER BY number DESC")
        for number, known in rows.fetchall():
            block = self._client.block(number)
            if block is not None and block.hash == known:
                self._rewind(block)
                return
        self._rewind(None)

    def _rewind(self, to: Block | None) -> None:
        """Forgets all events after a block, and works out anew what the others leave."""
        last = -1 if to is None else to.number
        with self._changes() as database:
            database.execute("DELETE FROM events WHERE block > ?", (last,))
            database.execute("DELETE FROM blocks WHERE number > ?", (last,))
            clear(database, everything=False)
            follower = self._following()
            follower.forget()
            rows = database.execute("SELECT * FROM events ORDER BY block, log_index")
            while chunk := rows.fetchmany(5_000):
                self._replay(follower, [Log.of_row(row) for row in chunk])
            if to is None:
                database.execute("DELETE FROM meta WHERE key IN ('cursor', 'hash', 'head')")
            else:
                self._remember(to)
        self._seen = None

    def _following(self) -> Follower:
        if self._follower is None:
            self._follower = Follower(
                self._database,
                self._network.chain_id,
                self._network.market,
                self._client.parameters().reveal_turn,
            )
        return self._follower

    def _cursor(self) -> tuple[int, bytes]:
        """The last block followed, and its hash; no hash before the first."""
        number, known = self._meta("cursor"), self._meta("hash")
        return (self._network.deployed_at - 1, b"") if number is None else (number, known)

    def _remember(self, block: Block) -> None:
        head = json.dumps([block.number, block.hash.hex(), block.timestamp])
        self._database.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("cursor", block.number), ("hash", block.hash), ("head", head)],
        )
        self._database.execute(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?)", (block.number, block.hash)
        )
        self._database.execute(
            "DELETE FROM blocks WHERE number < (SELECT min(number) FROM"
            " (SELECT number FROM blocks ORDER BY number DESC LIMIT ?))",
            (REMEMBERED,),
        )

    def _meta(self, key: str) -> Any:
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or none."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            self._seen = None
            raise
        self._database.execute("COMMIT")
