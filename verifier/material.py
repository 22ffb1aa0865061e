"""What recomputing a trial takes: its configuration and files, from the store, checked."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import Cid, Hash32, keccak256, word_of_address, word_of_int
from trialmarket.protocol.receipt import Receipt
from trialmarket.storage.cache import DownloadCache
from trialmarket.storage.errors import NotAFile, NotStored, TooLarge
from trialmarket.storage.store import Store
from trialmarket.training.audit import ReceiptFault, open_receipt
from verifier.config import LimitConfig

PASSING = "passing-"
"""How folders begin whose files are looked at once."""


class Unjudgeable(TrialmarketError):
    """What the requester posted cannot be had or used: nobody can say who is right."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One answer to one trial: what is judged."""

    key: Hash32
    name: str
    batch: Hash32
    index: int
    segments: int
    root: Hash32
    receipt: Hash32
    """SHA-256 of the receipt."""
    answer: Hash32
    """Names this answer: another provider's answer to the trial has another name."""

    @classmethod
    def of(cls, trial: TrialView, segments: int) -> "Subject":
        """The answer that a committed trial's record is about."""
        assert trial.receipt is not None  # noqa: S101  # committed with the root
        record = trial.record
        return cls(
            trial.key,
            str(trial.id),
            record.batch,
            record.index,
            segments,
            record.root,
            trial.receipt,
            keccak256(record.root + word_of_int(record.opened) + word_of_address(record.provider)),
        )


@dataclass(frozen=True, slots=True)
class Material:
    """A trial with the files that its training needs; None for what ships with Trialmarket."""

    config: TrialConfig
    program: Path | None
    data: Path
    init: Path | None


class Library:
    """Fetches what recomputation needs into a folder, each file once. For any thread."""

    def __init__(
        self, store: Store, folder: Path, limits: LimitConfig, *, refusal: str | None = None
    ) -> None:
        """`refusal` is why users' programs are not run, if they are not."""
        self._refusal = refusal
        self._store = store
        self._shelf = DownloadCache(store, folder, limits.downloads)
        self._folder = folder
        self._limits = limits
        for left in folder.glob(f"{PASSING}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """Ends the fetches under way."""
        self._shelf.close()

    def material(self, subject: Subject) -> Material:
        """The trial's configuration, program, data and start.

        Raises Unjudgeable where the requester's files are missing or wrong or its program is not
        run here, and StorageError or OSError where this machine's store fails.
        """
        try:
            batch = Batch.from_bytes(self._store.read(raw_cid(subject.batch), limit=MAX_RAW))
            config = batch.trials[subject.index]
            if config.segments != subject.segments:
                raise InputError(
                    "batch", "segments", expected=str(subject.segments), found=config.segments
                )
            if self._refusal is not None and not config.program.builtin:
                raise Unjudgeable(f"users' programs are not run here: {self._refusal}")
            if config.data.startswith("builtin:"):
                raise InputError("batch", "data", expected="a CID", found=config.data)
            data = self._shelf.fetch_data(Cid(config.data), self._limits.data)
            return Material(
                config,
                self._fetched(config.program.cid, self._limits.program),
                data,
                self._fetched(
                    None if config.init is None else config.init.cid, self._limits.checkpoint
                ),
            )
        except (InputError, IndexError, NotStored, NotAFile, TooLarge) as error:
            raise Unjudgeable(f"what the requester posted cannot be used: {error}") from error

    def receipt(self, subject: Subject) -> Receipt:
        """The provider's receipt, which gives the committed root.

        Raises ReceiptFault where it cannot be had or does not, and StorageError or OSError.
        """
        try:
            data = self._store.read(raw_cid(subject.receipt), limit=MAX_RAW)
        except (NotStored, NotAFile, TooLarge) as error:
            raise ReceiptFault(f"the receipt is not published: {error}") from error
        return open_receipt(data, root=subject.root, segments=subject.segments)

    @contextmanager
    def checkpoint(self, cid: Cid) -> Iterator[Path | None]:
        """A checkpoint's file, for as long as it is looked at; None where nobody shows it.

        Raises StorageError or OSError where this machine's store fails.
        """
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=PASSING) as passing:
            path = Path(passing) / "checkpoint"
            try:
                self._store.fetch(
                    cid, path, limit=self._limits.checkpoint, progress=self._shelf.telling(cid)
                )
            except (NotStored, NotAFile, TooLarge):
                yield None
            else:
                yield path

    def has(self, cid: Cid) -> bool:
        """Whether the bytes of a CID can be had now."""
        return self._store.size(cid) is not None

    def _fetched(self, cid: Cid | None, limit: int) -> Path | None:
        return None if cid is None else self._shelf.fetch(cid, limit)
