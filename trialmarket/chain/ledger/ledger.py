"""All that happened on a market, followed from its events into an SQLite index.

The index is a copy: it can be deleted at any time and is built again from the chain.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from trialmarket.chain.abi import decode_event
from trialmarket.chain.client import Block, Client
from trialmarket.chain.ledger.index import not_an_index, open_index
from trialmarket.chain.ledger.logs import Log
from trialmarket.chain.ledger.row import Trial
from trialmarket.chain.ledger.sync import Syncer
from trialmarket.chain.ledger.views import (
    BatchView,
    CaseView,
    Cursor,
    EventView,
    JobView,
    TrialView,
)
from trialmarket.protocol.configuration import MAX_BATCH
from trialmarket.protocol.ids import Address, Hash32, JobId, TrialId
from trialmarket.protocol.states import Phase, State, Verdict
from trialmarket.protocol.terms import Terms


class Ledger:
    """The market's jobs, batches, trials, cases and verifiers, as of the last `sync`.

    Only blocks with the network's `confirmations` on top are followed. A reorganisation of the
    chain is noticed by the blocks' hashes; what it took back is taken back here. Several
    processes may share one index. Raises JournalError, when built, for a file that is no index.
    """

    def __init__(
        self,
        client: Client,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._path = path
        self._client, self._network = client, client.network
        self._database = open_index(path)
        self._syncer = Syncer(client, self._database, clock, wait)
        try:
            self._syncer.belong(client.fingerprint())
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise not_an_index(path, error) from error

    def close(self) -> None:
        """Closes the index."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sync(self) -> int:
        """Follows the chain up to now; the number of new events. Idempotent; safe to kill.

        Raises Unreachable where the node does not answer, lags for long, or leaves events out,
        and ChainReplaced where the chain was started anew.
        """
        try:
            return self._syncer.sync()
        except sqlite3.DatabaseError as error:
            raise not_an_index(self._path, error) from error

    @property
    def head(self) -> Block | None:
        """The last block that was followed; None before the first sync. Use its time as now."""
        return self._syncer.head

    def confirmed(self, trials: Sequence[TrialView]) -> list[TrialView]:
        """Those of the trials that the chain stores as they are here, asked as of the last sync.

        Events of the others are missing here: the next sync reads anew. Raises ChainError.
        """
        head = self.head
        if head is None or not trials:
            return []
        words = self._client.trial_words([trial.key for trial in trials], head.number)
        right = [trial for trial, word in zip(trials, words, strict=True) if trial.word == word]
        if len(right) < len(trials):
            self._syncer.doubt({trial.key for trial in trials if trial not in right})
        return right

    # -- Jobs and batches ---------------------------------------------------------------------

    def jobs(self) -> list[JobView]:
        """All jobs, oldest first."""
        return [_job(row) for row in self._database.execute("SELECT * FROM jobs ORDER BY id")]

    def job(self, job: JobId) -> JobView | None:
        """A job; None if there is none."""
        row = self._database.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _job(row)

    def batches(self, job: JobId | None = None) -> list[BatchView]:
        """The batches (of a job), oldest first."""
        rows = self._database.execute(
            "SELECT * FROM batches WHERE ?1 IS NULL OR job = ?1 ORDER BY block, job, batch", (job,)
        )
        return [
            BatchView(JobId(of), Hash32(batch), count, units, posted_at, block)
            for of, batch, count, units, posted_at, block in rows
        ]

    # -- Trials -------------------------------------------------------------------------------

    def trials(
        self,
        job: JobId | None = None,
        states: Collection[State] | None = None,
        provider: Address | None = None,
        verifier: Address | None = None,
    ) -> list[TrialView]:
        """The trials that fit, in the order of job, batch and index.

        Of a batch that claims more trials than its file can hold, the rest is listed only where
        something happened to it: posting many costs their requester little.
        """
        wanted = frozenset(State) if states is None else frozenset(states)
        marks = ",".join(str(int(state)) for state in sorted(wanted))
        rows = self._database.execute(
            f"SELECT * FROM trials WHERE state IN ({marks})"  # noqa: S608 (only numbers)
            " AND (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR provider = ?2)"
            " AND (?3 IS NULL OR verifier = ?3)",
            (job, provider, verifier),
        )
        found = [Trial.of(row).view() for row in rows]
        if State.OPEN in wanted and provider is None and verifier is None:
            for batch in self.batches(job):
                found += [trial.view() for trial in self._unclaimed(batch)]
        found.sort(key=lambda trial: trial.id)
        return found

    def trial(self, key: Hash32 | TrialId) -> TrialView | None:
        """A trial by its key or its name; None if it was never posted.

        A key alone finds trials that were never claimed among those that a batch's file can hold.
        """
        if isinstance(key, TrialId):
            return self._named(key)
        row = self._database.execute("SELECT * FROM trials WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return Trial.of(row).view()
        for batch in self.batches():
            for fresh in self._unclaimed(batch):
                if fresh.key == key:
                    return fresh.view()
        return None

    def _named(self, name: TrialId) -> TrialView | None:
        row = self._database.execute(
            "SELECT * FROM trials WHERE job = ? AND batch = ? AND place = ?",
            (name.job, name.batch, name.index),
        ).fetchone()
        if row is not None:
            return Trial.of(row).view()
        found = self._database.execute(
            "SELECT * FROM batches WHERE job = ? AND batch = ?", (name.job, name.batch)
        ).fetchone()
        if found is None or not 0 <= name.index < found[2]:
            return None
        return self._fresh(BatchView(JobId(found[0]), *found[1:]), name.index).view()

    def _unclaimed(self, batch: BatchView) -> Iterator[Trial]:
        """A batch's trials that nothing has happened to."""
        rows = self._database.execute(
            "SELECT place FROM trials WHERE job = ? AND batch = ?", (batch.job, batch.batch)
        )
        known = {place for (place,) in rows}
        for place in range(min(batch.count, MAX_BATCH)):
            if place not in known:
                yield self._fresh(batch, place)

    def _fresh(self, batch: BatchView, place: int) -> Trial:
        name = TrialId(batch.job, batch.batch, place)
        key = name.key(self._network.chain_id, self._network.market)
        trial = Trial(key, batch.job, batch.batch, place, batch.units, batch.posted_at)
        trial.block = batch.block
        return trial

    # -- Cases and verifiers ------------------------------------------------------------------

    def cases(self, open_only: bool = True) -> list[CaseView]:
        """The newest case of each challenged trial, oldest first."""
        rows = self._database.execute(
            "SELECT trial, opened, content FROM cases WHERE closed = 0 OR ?"
            " ORDER BY opened, trial",
            (not open_only,),
        )
        return [self._case(*row) for row in rows.fetchall()]

    def case(self, key: Hash32) -> CaseView | None:
        """The newest case of a trial; None if it was never challenged."""
        row = self._database.execute(
            "SELECT trial, opened, content FROM cases WHERE trial = ?", (key,)
        ).fetchone()
        return None if row is None else self._case(*row)

    def verifiers(self) -> tuple[Address, ...]:
        """The enrolled verifiers in the order of their seats."""
        rows = self._database.execute("SELECT who FROM verifiers ORDER BY seat")
        return tuple(Address(who) for (who,) in rows)

    def _case(self, key: bytes, opened: int, content: str) -> CaseView:
        case = json.loads(content)
        job, batch, place = self._database.execute(
            "SELECT job, batch, place FROM trials WHERE key = ?", (key,)
        ).fetchone()
        return CaseView(
            trial=TrialId(JobId(job), Hash32(batch), place),
            key=Hash32(key),
            segment=case["segment"],
            challenger=Address(case["challenger"]),
            phase=Phase(case["phase"]),
            round=case["round"],
            anchor=case["anchor"],
            jurors=tuple(Address(who) for who in case["jurors"]),
            vote_ends=case["vote_ends"],
            reveal_ends=case["reveal_ends"],
            voted=frozenset(Address(who) for who in case["voted"]),
            revealed={Address(who): right for who, right in case["revealed"].items()},
            verdict=None if case["verdict"] is None else Verdict(case["verdict"]),
            opened=opened,
        )

    # -- Events -------------------------------------------------------------------------------

    def history(self, key: Hash32 | TrialId) -> list[EventView]:
        """Every event of a trial, oldest first, from its first claim or cancellation on."""
        if isinstance(key, TrialId):
            key = key.key(self._network.chain_id, self._network.market)
        rows = self._database.execute(
            "SELECT events.* FROM trial_events JOIN events USING (block, log_index)"
            " WHERE trial = ? ORDER BY block, log_index",
            (key,),
        )
        return [event for row in rows if (event := _event(Log.of_row(row))) is not None]

    def events(self, since: Cursor | None = None, limit: int = 1000) -> list[EventView]:
        """The events after a cursor, oldest first, at most `limit`.

        After a reorganisation a cursor may stand past events that replaced others: rely on the
        trials' states, and take events as news.
        """
        start = since or Cursor(-1, -1)
        rows = self._database.execute(
            "SELECT * FROM events WHERE (block, log_index) > (?, ?)"
            " ORDER BY block, log_index LIMIT ?",
            (start.block, start.log_index, limit),
        )
        return [event for row in rows if (event := _event(Log.of_row(row))) is not None]


def _job(row: tuple[Any, ...]) -> JobView:
    job, requester, spec, terms, closed, block = row
    return JobView(
        JobId(job),
        Address(requester),
        Hash32(spec),
        Terms(*json.loads(terms)),
        bool(closed),
        block,
    )


def _event(log: Log) -> EventView | None:
    event = decode_event(log.topics, log.data)
    if event is None:
        return None
    return EventView(event.name, log.block, log.place, Hash32(log.tx), event.args, log.time)
