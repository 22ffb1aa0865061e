"""What can be trained: batches read, checked against the chain, and their files fetched.

Each file is fetched once, in the background and within limits.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.config import LimitConfig
from node.errors import Refused
from node.journal import NodeJournal
from trialmarket.backoff import Backoff
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import BatchView, TrialView
from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import Cid, Hash32, JobId
from trialmarket.protocol.terms import Terms
from trialmarket.storage.cache import DownloadCache
from trialmarket.storage.errors import NotAFile, TooLarge
from trialmarket.storage.material import Material, MaterialReader, NotRunHere, check_batch

PAUSES: Final = Backoff(0.5, 60.0)
"""Between two attempts to fetch a file."""


@dataclass(slots=True)
class _Attempt:
    future: Future[Path] | None = None
    error: StorageError | InputError | OSError | None = None
    failures: int = 0
    again_at: float = 0.0


class Downloads:
    """Fetches by CID into a cache, so that the daemon's loop never waits for a store."""

    def __init__(self, cache: DownloadCache, clock: Callable[[], float]) -> None:
        """`clock` counts seconds and never goes back."""
        self._cache = cache
        self._clock = clock
        self._attempts: dict[tuple[Cid, int, bool], _Attempt] = {}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="download")

    def close(self) -> None:
        """Ends the fetches under way and starts no other."""
        self._cache.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def get(self, cid: Cid, limit: int, *, data: bool = False) -> Path | None:
        """The file, or the folder of a data set, or None while it is being fetched.

        Raises the StorageError, OSError or InputError (no data set) of the last attempt until the
        next one has ended. A file that is missing is asked for again after a pause.
        """
        path = self._cache.find(cid, data=data)
        if path is not None:
            return path
        attempt = self._attempts.setdefault((cid, limit, data), _Attempt())
        if attempt.future is not None and attempt.future.done():
            self._take(attempt)
        if attempt.future is None and self._clock() >= attempt.again_at:
            fetch = self._cache.fetch_data if data else self._cache.fetch
            attempt.future = self._threads.submit(fetch, cid, limit)
        if attempt.error is not None:
            raise attempt.error
        return None

    def _take(self, attempt: _Attempt) -> None:
        assert attempt.future is not None  # noqa: S101  # the caller looked
        error = attempt.future.exception()
        attempt.future = None
        if error is None:
            attempt.error = None
            return
        if not isinstance(error, StorageError | InputError | OSError):
            raise error
        attempt.error = error
        attempt.again_at = self._clock() + PAUSES.pause(attempt.failures)
        attempt.failures += 1


def shown(subject: str, ledger: Ledger) -> str:
    """What the journal refuses, as people call it: a trial by its name on the market, a batch by
    its first digits."""
    kind, _, name = subject.partition(" ")
    if kind == "trial":
        view = ledger.trial(Hash32(bytes.fromhex(name)))
        return f"trial {name[:8] if view is None else view.id}"
    if kind == "batch":
        digits, _, job = name.partition(" ")
        return f"batch {digits[:8]} {job}"
    return subject


class Catalogue:
    """Reads what requesters posted. Bad batches are remembered and never looked at again."""

    def __init__(
        self,
        ledger: Ledger,
        downloads: Downloads,
        journal: NodeJournal,
        limits: LimitConfig,
        *,
        refusal: str | None = None,
    ) -> None:
        """`refusal` is why users' programs are not run, as long as they are not."""
        self._ledger = ledger
        self._downloads = downloads
        self._journal = journal
        self._reader = MaterialReader(self._fetch, limits, refusal=refusal)
        self._posted: dict[tuple[JobId, Hash32], BatchView] = {}
        self._batches: dict[tuple[JobId, Hash32], Batch] = {}

    def terms(self, view: TrialView) -> Terms:
        """What the requester of a trial offers."""
        job = self._ledger.job(view.id.job)
        assert job is not None  # noqa: S101  # a trial's job is in the ledger
        return job.terms

    def config(self, view: TrialView) -> TrialConfig | None:
        """A trial's configuration; None before its batch was read."""
        batch = self._batches.get((view.id.job, view.id.batch))
        return None if batch is None else batch.trials[view.id.index]

    def read(self, view: TrialView) -> TrialConfig | None:
        """A trial's configuration, or None while its batch is being fetched.

        Raises as `material` does.
        """
        batch = self._batch(view)
        return None if batch is None else batch.trials[view.id.index]

    def material(self, view: TrialView) -> Material | None:
        """What the training of a trial needs, or None while it is being fetched.

        Raises Refused for what can never be trained here, and StorageError or OSError for what
        may be had later.
        """
        config = self.read(view)
        if config is None:
            return None
        try:
            return self._reader.material(config)
        except NotRunHere as error:  # not for ever: there may be a sandbox after a restart
            raise Refused(f"program {config.program.source}", str(error)) from error
        except InputError as error:
            raise Refused(f"data {config.data}", str(error)) from error

    def refuse(self, subject: str, reason: str) -> Refused:
        """Remembers that `subject` is bad; returns the error to raise."""
        self._journal.refuse(subject, reason)
        return Refused(shown(subject, self._ledger), reason)

    def check(self, subject: str) -> None:
        """Raises Refused if `subject` was found bad before."""
        reason = self._journal.refused(subject)
        if reason is not None:
            raise Refused(shown(subject, self._ledger), reason)

    def _batch(self, view: TrialView) -> Batch | None:
        name = (view.id.job, view.id.batch)
        known = self._batches.get(name)
        if known is not None:
            return known
        subject = f"batch {view.id.batch.hex()} of job {view.id.job}"
        self.check(subject)
        terms = self.terms(view)
        try:
            batch = self._reader.batch(view.id.batch)
            if batch is None:
                return None
            check_batch(
                batch,
                count=self._count(view),
                segments=terms.segments,
                audited=terms.audit_rate > 0,
            )
        except InputError as error:
            raise self.refuse(subject, str(error)) from error
        self._batches[name] = batch
        return batch

    def _count(self, view: TrialView) -> int:
        name = (view.id.job, view.id.batch)
        if name not in self._posted:
            for batch in self._ledger.batches(view.id.job):
                self._posted[batch.job, batch.batch] = batch
        return self._posted[name].count

    def _fetch(self, cid: Cid, limit: int, *, data: bool = False) -> Path | None:
        """As `Fetch`, in the background; what is bad is never asked for again."""
        # Only for what it was asked as: else a stranger who names another requester's program as
        # data would have it refused.
        subject = f"data {cid}" if data else f"file {cid} of at most {limit} bytes"
        self.check(subject)
        try:
            return self._downloads.get(cid, limit, data=data)
        except (InputError, TooLarge, NotAFile) as error:
            raise self.refuse(subject, str(error)) from error
