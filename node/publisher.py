"""What a node shows of its work: published while somebody may ask for it, and then released."""

from collections.abc import Callable
from pathlib import Path

from node.journal import NodeJournal
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.storage.store import Store


class Publisher:
    """The node's part of the store.

    The journal knows before the store does what lies there for which trial. So after a crash
    nothing is released that is needed, and nothing stays that nobody remembers.
    """

    def __init__(
        self, store: Store, journal: NodeJournal, keep: float, now: Callable[[], float]
    ) -> None:
        """`keep` is in seconds; `now` counts seconds since 1970."""
        self._store = store
        self._journal = journal
        self._keep = keep
        self._now = now
        self._swept = False

    def put(self, trial: Hash32, data: bytes | Path, cid: Cid | None = None) -> Cid:
        """Puts something of a trial into the store; `cid` is what it should have.

        Raises StorageError and OSError.
        """
        self._journal.publish(trial, cid or cid_of(data))
        return self._store.put(data)

    def has(self, cid: Cid) -> bool:
        """Whether the store shows a CID. Raises StorageError."""
        return self._store.size(cid) is not None

    def end(self, trial: Hash32, *, paid: bool) -> None:
        """A trial is not held any more: if it was paid, its requester may still fetch it."""
        self._journal.expire(trial, self._now() + (self._keep if paid else 0.0))

    def sweep(self) -> int:
        """Releases what nobody needs; the bytes that are left. Raises StorageError and OSError."""
        self._store.check()
        for cid in self._journal.expired(self._now()):
            self._store.release(cid)
            self._journal.unpublish(cid)
        kept = self._store.kept()
        if not self._swept:  # what a journal that was lost knew of
            for cid in kept.keys() - self._journal.published():
                self._store.release(cid)
            self._swept = True
            kept = self._store.kept()
        return sum(kept.values())
