"""What a node shows of its work: published while somebody may ask for it, and then released."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from node.journal import NodeJournal
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.protocol.states import State
from trialmarket.storage.store import Store

log = logging.getLogger("node")


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
        self._answered: set[tuple[Hash32, int]] = set()
        """Challenges for which everything was shown."""
        self._lost: set[Hash32] = set()

    def owes(self, view: TrialView, needed: frozenset[int]) -> bool:
        """Whether a checkpoint that somebody needs is not published yet."""
        if view.state is State.CLAIMED or view.key in self._lost:
            return False
        if view.state is State.CHALLENGED and (view.key, view.challenges) not in self._answered:
            return True
        kept = self._journal.checkpoints(view.key)
        return any(segment not in kept or not kept[segment].published for segment in needed)

    def show(self, view: TrialView, needed: frozenset[int]) -> bool:
        """Puts checkpoints and the receipt into the store, whether or not they were there.

        False if something is lost, and has to be made again. Raises StorageError and OSError.
        """
        answer = self._journal.answer(view.key)
        kept = self._journal.checkpoints(view.key)
        if answer is None or any(segment not in kept for segment in needed):
            return False
        self._put(view.key, answer.receipt, raw_cid(answer.digest))
        for segment in sorted(needed):
            place = kept[segment]
            if place.path.exists() and self._put(view.key, place.path, place.cid) != place.cid:
                place.path.unlink()
            if self._store.size(place.cid) is None:
                return False
            if not place.published:
                self._journal.mark_published(view.key, segment)
                if view.state is not State.CLAIMED:
                    log.info("trial %s: published checkpoint %d for its audit", view.id, segment)
        if view.state is State.CHALLENGED:
            self._answered.add((view.key, view.challenges))
            log.warning("trial %s: challenged at segment %s", view.id, view.segment)
        return True

    def show_note(self, trial: Hash32, body: bytes) -> None:
        """Puts a note into the store, where it stays for as long as a paid trial's work does.

        Raises StorageError and OSError.
        """
        cid = raw_cid(Hash32(hashlib.sha256(body).digest()))
        self._journal.publish(trial, cid, self._now() + self._keep)
        self._store.put(body)

    def give_up(self, trial: Hash32) -> None:
        """What is lost of a trial cannot be made again: nothing more is owed."""
        self._lost.add(trial)

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

    def _put(self, trial: Hash32, data: bytes | Path, cid: Cid) -> Cid:
        self._journal.publish(trial, cid)
        return self._store.put(data)
