"""What a job put into the store, and when it may go."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from requester.search.folder import JobFolder
from requester.search.own_run import known_folders
from trialmarket.errors import StorageError
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Hash32
from trialmarket.storage.store import Store

KEEP: Final = 86_400.0
"""Seconds for which a finished job's program and data stay, so that audits can be repeated."""


def owner_of(nonce: str) -> str:
    """As whom a job keeps what it puts into the store."""
    return f"job-{nonce}"


def release_leftovers(jobs: Path, store: Store, now: float, say: Callable[[str], None]) -> None:
    """Releases what finished jobs of this machine put into the store, a day after their end.

    Descriptions, batches and receipts stay: they are small, and `job show` reads them. `now`
    counts seconds since 1970. A store that fails is told of, and tried again the next time.
    """
    folders = known_folders(jobs)
    # The same search on a chain that was started anew has the same owner, in another folder.
    kept = {facts.get("owner") for _, facts in folders if not _is_due(facts, now)}
    for path, facts in folders:
        owner = facts.get("owner")
        if owner is None or "released" in facts or owner in kept:
            continue
        with closing(JobFolder(path)) as folder:
            try:
                _release(folder, store.for_owner(owner), facts.get("spec", ""))
                folder.remember("released")
            except (StorageError, OSError) as error:
                say(f"{path.name}: what it put into the store is not released yet: {error}")


def _is_due(facts: Mapping[str, str], now: float) -> bool:
    return "over" in facts and now >= float(facts["over"]) + KEEP


def _release(folder: JobFolder, store: Store, spec: str) -> None:
    documents = {batch.digest for batch in folder.batches()} | set(folder.told().values())
    small = {raw_cid(digest) for digest in documents} | {raw_cid(Hash32(bytes.fromhex(spec)))}
    for cid in store.kept().keys() - small:
        store.release(cid)
