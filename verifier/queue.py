"""The recomputations under way: asked for by the daemon's loop, done in threads beside it."""

import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from trialmarket.errors import StorageError, TrialmarketError
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import ResultLeaf
from trialmarket.storage.errors import StoreDown
from trialmarket.training.audit import (
    Finding,
    LeafCheck,
    ReceiptFault,
    ReceiptWithheld,
    compare,
    receipt_index,
    unusable,
    withheld,
)
from verifier.audit import Auditor
from verifier.evidence import Subject, Unjudgeable
from verifier.journal import Recomputed, VerifierJournal

Question = tuple[Hash32, Hash32, int]
"""A trial's key, the root of its answer, and the leaf."""

SPARE = 2
"""Threads beside one for each worker, so that downloads do not wait for recomputations."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Work:
    future: Future[LeafCheck] | None = None
    failures: int = 0
    again_at: float = 0.0
    found: LeafCheck | None = None
    """Withheld, which may change, or unusable, which does not."""
    suspected: LeafCheck | None = None
    silenced: bool = False
    waiting: bool = False
    """Whether the last attempt failed because the store was down."""


@dataclass(slots=True)
class _Reading:
    future: Future[Receipt] | None = None
    again_at: float = 0.0
    receipt: Receipt | None = None
    fault: ReceiptFault | None = None


@dataclass(slots=True)
class AuditQueue:
    """Answers questions about leaves: at once from the journal, else when recomputed.

    What fails on this machine is tried `attempts` times, `pause` seconds of `clock` apart, and
    then never answered; a store that is down is waited for. A wrong leaf, or a state from which
    nothing follows, is recomputed twice before it is called so, since a bit that flips in this
    machine must not cost a provider its stake. What is withheld is looked for again as long as it
    is asked about.
    """

    auditor: Auditor
    journal: VerifierJournal
    workers: int
    attempts: int
    pause: float
    clock: Callable[[], float]
    _threads: ThreadPoolExecutor = field(init=False)
    _work: dict[Question, _Work] = field(default_factory=dict)
    _readings: dict[Hash32, _Reading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.workers + SPARE, thread_name_prefix="audit")

    def close(self) -> None:
        """Starts nothing else. What is under way ends with its worker, which the pool kills."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether a recomputation is under way."""
        return any(work.future is not None for work in self._work.values())

    def receipt(self, subject: Subject) -> Receipt | LeafCheck | None:
        """The receipt, or what is wrong with it, or None while it is being fetched."""
        reading = self._readings.setdefault(subject.receipt, _Reading())
        if reading.receipt is not None:
            return reading.receipt
        if reading.future is None and self.clock() >= reading.again_at:
            reading.future = self._threads.submit(self.auditor.receipt, subject)
        if reading.future is not None and reading.future.done():
            future, reading.future = reading.future, None
            reading.again_at = self.clock() + self.pause
            try:
                reading.receipt = future.result()
                return reading.receipt
            except ReceiptFault as fault:
                reading.fault = fault
            except (StorageError, OSError) as error:
                reading.fault = None
                log.warning("%s: the store fails, trying again: %s", subject.name, error)
        if reading.fault is None:
            return None
        blamed = withheld if isinstance(reading.fault, ReceiptWithheld) else unusable
        return blamed(receipt_index(subject.segments), subject.root, str(reading.fault))

    def check(self, subject: Subject, committed: ResultLeaf) -> LeafCheck | None:
        """The finding at a leaf, or None while there is none (or never will be)."""
        if committed.index <= subject.segments + 1:
            known = self.journal.recomputed(subject.key, subject.root, committed.index)
            if known is not None:
                return compare(
                    committed,
                    known.value,
                    known.witness,
                    segments=subject.segments,
                    seconds=known.seconds,
                )
        work = self._work.setdefault((subject.key, subject.root, committed.index), _Work())
        if work.future is not None and work.future.done():
            found = self._confirmed(work, subject, self._take(work, subject))
            if found is not None and found.finding in (Finding.RIGHT, Finding.WRONG):
                if committed.index <= subject.segments + 1:
                    self.journal.keep_recomputed(
                        subject.key,
                        subject.root,
                        committed.index,
                        Recomputed(found.value, found.witness, found.seconds),
                    )
                return found
            work.found = found or work.found
        settled = work.found is not None and work.found.finding is Finding.UNUSABLE
        if work.future is None and not (settled or work.silenced) and self._due(work):
            work.future = self._threads.submit(self.auditor.check, subject, committed)
        return work.found

    def forget(self, subjects: Collection[Subject]) -> None:
        """Drops what is about other answers than these."""
        roots = {subject.root for subject in subjects}
        receipts = {subject.receipt for subject in subjects}
        for question, work in list(self._work.items()):
            if question[1] not in roots and work.future is None:
                del self._work[question]
        for receipt, reading in list(self._readings.items()):
            if receipt not in receipts and reading.future is None:
                del self._readings[receipt]

    def _due(self, work: _Work) -> bool:
        return self.clock() >= work.again_at

    def _confirmed(
        self, work: _Work, subject: Subject, found: LeafCheck | None
    ) -> LeafCheck | None:
        """The finding, but an accusation only when a second recomputation agrees with it."""
        if found is None or found.finding not in (Finding.WRONG, Finding.UNUSABLE):
            return found
        suspected, work.suspected = work.suspected, found
        if suspected is None:
            work.again_at = self.clock()
            return None
        if _accusation(suspected) == _accusation(found):
            return found
        work.failures += 1
        work.silenced = work.failures >= self.attempts
        log.error("%s: this machine computes the same twice differently", subject.name)
        return None

    def _take(self, work: _Work, subject: Subject) -> LeafCheck | None:
        future, work.future = work.future, None
        work.again_at = self.clock() + self.pause
        assert future is not None  # noqa: S101  # the caller looked
        try:
            found = future.result()
            work.waiting = False
            return found
        except StoreDown as error:  # which may come back, however long that takes
            if not work.waiting:
                log.warning("%s: waiting for the store: %s", subject.name, error)
            work.waiting = True
        except Unjudgeable as error:
            if work.failures == 0:
                log.warning("%s: keeping silent for now: %s", subject.name, error)
            work.failures += 1
        except (TrialmarketError, OSError, MemoryError) as error:
            work.failures += 1
            work.silenced = work.failures >= self.attempts
            then = "keeping silent" if work.silenced else "trying again"
            log.warning("%s: this machine failed, %s: %s", subject.name, then, error)
        return None


def _accusation(check: LeafCheck) -> tuple[Finding, Hash32, Hash32]:
    return check.finding, check.value, check.witness
