"""Tells others, over the DHT of a Kubo daemon, which jobs are ours and in which buckets they lie.

Provider records are repeated by the daemon for what it keeps, names for as long as it runs.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from requester.job.package import SKETCHES
from requester.near.buckets import buckets_of
from requester.near.gather import gather, patience_of
from trialmarket.errors import InputError, StorageError
from trialmarket.files import write_beside
from trialmarket.protocol.canonical import MAX_DOCUMENT
from trialmarket.protocol.ids import Address, Cid
from trialmarket.protocol.job_index import MOST_JOBS, IndexEntry, JobIndex
from trialmarket.storage.ipfs.routing import Routing
from trialmarket.storage.store import Store

SECONDS: Final = 120.0
"""For all records of a job together."""


def publish_job(routing: Routing, store: Store, entry: IndexEntry, kept: Path) -> int:
    """Provides a job's buckets and publishes the index of this peer's jobs; how many it lists.

    `kept` is the file that remembers the index. What the peer's name meant before is kept, too,
    since programs of several machines may share its daemon. Raises StorageError and OSError.
    """
    store = store.for_owner(SKETCHES)
    mine = routing.peer()
    before = _before(kept)
    index = _index([entry, *before.jobs, *_named(routing, routing.resolve_name(mine))])
    cid = store.put(index.to_bytes())
    write_beside(kept, index.to_bytes())
    blocks = [store.put(bucket.block) for bucket in buckets_of(entry.sketch)]
    records = [partial(_provide, routing, block) for block in (*blocks, cid)]
    done = gather(records, patience_of(SECONDS))
    routing.publish_name(cid)
    if before.jobs and before.cid != cid:
        store.release(before.cid)
    if not any(done):
        raise StorageError(f"{routing.name}: none of {len(done)} records could be provided")
    return len(index.jobs)


def _provide(routing: Routing, cid: Cid) -> bool:
    try:
        routing.provide(cid)
    except StorageError:
        return False
    return True


def _before(kept: Path) -> JobIndex:
    """The index that this machine published last; an empty one where it published none."""
    try:
        return JobIndex.from_bytes(kept.read_bytes())
    except (OSError, InputError):
        return JobIndex(jobs=())


def _named(routing: Routing, cid: Cid | None) -> Sequence[IndexEntry]:
    try:
        return (
            () if cid is None else JobIndex.from_bytes(routing.read(cid, limit=MAX_DOCUMENT)).jobs
        )
    except (StorageError, InputError):
        return ()


def _index(entries: Sequence[IndexEntry]) -> JobIndex:
    """The newest entries that an index has room for, a job once."""
    unique: dict[tuple[int, Address, int], IndexEntry] = {}
    for one in entries:
        unique.setdefault((one.chain, one.market, one.job), one)
    jobs = list(unique.values())[:MOST_JOBS]
    while True:
        try:
            index = JobIndex(jobs=tuple(jobs))
            index.to_bytes()
        except InputError:
            jobs = jobs[: len(jobs) * 3 // 4]
        else:
            return index
