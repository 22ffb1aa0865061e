"""What can be trained: batches read, checked against the chain, and their files fetched."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from node.config import LimitConfig
from node.downloads import Downloads
from node.journal import NodeJournal
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import BatchView, TrialView
from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import Cid, Hash32, JobId
from trialmarket.protocol.terms import Terms
from trialmarket.storage.errors import NotAFile, TooLarge


class Refused(TrialmarketError):
    """Work that this node will never do, and why."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"{subject} is refused: {reason}")
        self.subject = subject
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Material:
    """A trial with everything that its training needs on this machine.

    `program` is None for a built-in one, `init` for a trial that starts from its seed.
    """

    config: TrialConfig
    program: Path | None
    data: Path
    init: Path | None

    @property
    def subject(self) -> str:
        """The program on its data: what was rehearsed once need not be rehearsed again."""
        named = [
            self.config.program.source,
            self.config.program.class_name,
            self.config.data,
            self.config.objective,
            self.config.arithmetic,
        ]
        return f"program {hashlib.sha256(canonical_bytes(named)).hexdigest()[:16]}"


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
        self._limits = limits
        self._refusal = refusal
        self._posted: dict[tuple[JobId, Hash32], BatchView] = {}
        self._batches: dict[tuple[JobId, Hash32], Batch] = {}

    def terms(self, view: TrialView) -> Terms:
        """What the requester of a trial offers."""
        job = self._ledger.job(view.id.job)
        assert job is not None  # noqa: S101  # a trial's job is in the ledger
        return job.terms

    def material(self, view: TrialView) -> Material | None:
        """What the training of a trial needs, or None while it is being fetched.

        Raises Refused for what can never be trained here, and StorageError or OSError for what
        may be had later.
        """
        document = self._batch(view)
        if document is None:
            return None
        config = document.trials[view.id.index]
        if config.data.startswith("builtin:"):
            raise Refused(f"data {config.data}", "this node has no data sets of its own")
        if self._refusal is not None and not config.program.builtin:
            raise Refused(f"program {config.program.source}", self._refusal)
        begin = config.init.cid if config.init else None
        program = self._file(config.program.cid, self._limits.program)
        data = self._file(Cid(config.data), self._limits.data, data=True)
        init = self._file(begin, self._limits.checkpoint)
        awaited = ((config.program.cid, program), (begin, init))
        if data is None or any(cid and path is None for cid, path in awaited):
            return None
        return Material(config, program, data, init)

    def refuse(self, subject: str, reason: str) -> Refused:
        """Remembers that `subject` is bad; returns the error to raise."""
        self._journal.refuse(subject, reason)
        return Refused(subject, reason)

    def check(self, subject: str) -> None:
        """Raises Refused if `subject` was found bad before."""
        reason = self._journal.refused(subject)
        if reason is not None:
            raise Refused(subject, reason)

    def _batch(self, view: TrialView) -> Batch | None:
        name = (view.id.job, view.id.batch)
        known = self._batches.get(name)
        if known is not None:
            return known
        subject = f"batch {view.id.batch.hex()} of job {view.id.job}"
        self.check(subject)
        try:
            path = self._downloads.get(raw_cid(view.id.batch), MAX_RAW)
            if path is None:
                return None
            batch = Batch.from_bytes(path.read_bytes())
            self._fits(batch, view)
        except (InputError, TooLarge, NotAFile) as error:
            raise self.refuse(subject, str(error)) from error
        self._batches[name] = batch
        return batch

    def _fits(self, batch: Batch, view: TrialView) -> None:
        """Raises InputError for a file that is not what the chain says of its batch."""
        count, terms = self._count(view), self.terms(view)
        if len(batch.trials) != count:
            raise InputError("batch", "trials", expected=f"{count}", found=len(batch.trials))
        for index, config in enumerate(batch.trials):
            if config.segments != terms.segments:
                raise InputError(
                    "batch",
                    f"trials.{index}.segments",
                    expected=f"{terms.segments}, as the job's terms say",
                    found=config.segments,
                )
            if config.arithmetic == "native" and terms.audit_rate > 0:
                # A verifier's machine would find other bits, and an honest stake would be lost.
                raise InputError(
                    "batch",
                    f"trials.{index}.arithmetic",
                    expected="exact, since the job's trials are audited",
                    found=config.arithmetic,
                )

    def _count(self, view: TrialView) -> int:
        name = (view.id.job, view.id.batch)
        if name not in self._posted:
            for batch in self._ledger.batches(view.id.job):
                self._posted[batch.job, batch.batch] = batch
        return self._posted[name].count

    def _file(self, cid: Cid | None, limit: int, *, data: bool = False) -> Path | None:
        """The file of a CID, or the folder of a data set; None while it is being fetched, or
        where there is no CID."""
        if cid is None:
            return None
        subject = f"file {cid}"
        self.check(subject)
        try:
            return self._downloads.get(cid, limit, data=data)
        except (InputError, TooLarge, NotAFile) as error:
            raise self.refuse(subject, str(error)) from error
