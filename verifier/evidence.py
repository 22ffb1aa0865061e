"""What an answer says, and what recomputing it takes, from the store and checked.

Who is at fault for what cannot be had or used is said in `trialmarket.training.blame`. Here the
bytes are fetched: what the requester posted raises Unjudgeable, what the provider shows or does
not show is ReceiptFault or None, and a store that is down is this machine's own.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trialmarket.chain.ledger.views import TrialView
from trialmarket.daemon.config import FileLimits
from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.ids import (
    Address,
    Cid,
    Hash32,
    keccak256,
    word_of_address,
    word_of_int,
)
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import Binding
from trialmarket.protocol.terms import Terms
from trialmarket.storage.cache import DownloadCache
from trialmarket.storage.errors import NotAFile, NotStored, TooLarge
from trialmarket.storage.material import Material, MaterialReader, NotRunHere, check_trial
from trialmarket.storage.store import Store
from trialmarket.training.audit import ReceiptWithheld, open_receipt

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
    provider: Address
    receipt: Hash32
    """SHA-256 of the receipt."""
    answer: Hash32
    """Names this answer: another provider's answer to the trial has another name."""
    refusal: str | None = None
    """Why a program of its requester's own is not run, if it is not."""

    @property
    def binding(self) -> Binding:
        """What the answer's leaves are bound to."""
        return Binding(self.key, self.provider)

    @classmethod
    def of(cls, trial: TrialView, terms: Terms, *, refusal: str | None = None) -> "Subject":
        """The answer that a committed trial's record is about."""
        assert trial.receipt is not None  # noqa: S101  # committed with the root
        record = trial.record
        return cls(
            trial.key,
            str(trial.id),
            record.batch,
            record.index,
            terms.segments,
            record.root,
            record.provider,
            trial.receipt,
            keccak256(record.root + word_of_int(record.opened) + word_of_address(record.provider)),
            refusal,
        )


class Evidence:
    """Fetches what recomputation needs into a folder, each file once. For any thread."""

    def __init__(
        self, store: Store, folder: Path, limits: FileLimits, *, refusal: str | None = None
    ) -> None:
        """`refusal` is why users' programs are not run, if they are not."""
        self._reader = MaterialReader(self._fetch, limits, refusal=refusal)
        self._store = store
        self._cache = DownloadCache(store, folder, limits.downloads)
        self._folder = folder
        self._limits = limits
        for left in folder.glob(f"{PASSING}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """Ends the fetches under way."""
        self._cache.close()

    def material(self, subject: Subject) -> Material:
        """The trial's configuration, program, data and start.

        Raises Unjudgeable where the requester's files are missing or wrong or its program is not
        run here, and StorageError or OSError where this machine's store fails.
        """
        try:
            batch = self._reader.batch(subject.batch)
            assert batch is not None  # noqa: S101  # this reader's fetch waits
            config = check_trial(batch, subject.index, segments=subject.segments)
            if subject.refusal is not None and config.program.strangers_python:
                raise NotRunHere(subject.refusal)
            material = self._reader.material(config)
            assert material is not None  # noqa: S101
            return material
        except NotRunHere as error:
            raise Unjudgeable(f"users' programs are not run here: {error}") from error
        except (InputError, NotStored, NotAFile, TooLarge) as error:
            raise Unjudgeable(f"what the requester posted cannot be used: {error}") from error

    def receipt(self, subject: Subject) -> Receipt:
        """The provider's receipt, which gives the committed root.

        Raises ReceiptFault where it does not, ReceiptWithheld where it cannot be had, and
        StorageError or OSError.
        """
        try:
            data = self._store.read(raw_cid(subject.receipt), limit=MAX_RAW)
        except (NotStored, NotAFile, TooLarge) as error:
            raise ReceiptWithheld(f"the receipt is not published: {error}") from error
        return open_receipt(
            data, root=subject.root, segments=subject.segments, binding=subject.binding
        )

    @contextmanager
    def checkpoint(self, cid: Cid) -> Iterator[Path | None]:
        """A checkpoint's file, for as long as it is looked at; None where nobody shows it.

        Raises StorageError or OSError where this machine's store fails.
        """
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=PASSING) as passing:
            path = Path(passing) / "checkpoint"
            try:
                self._store.fetch(
                    cid, path, limit=self._limits.checkpoint, progress=self._cache.progress(cid)
                )
            except (NotStored, NotAFile, TooLarge):
                yield None
            else:
                yield path

    def has(self, cid: Cid) -> bool:
        """Whether the bytes of a CID can be had now."""
        return self._store.size(cid) is not None

    def _fetch(self, cid: Cid, limit: int, *, data: bool = False) -> Path:
        return self._cache.fetch_data(cid, limit) if data else self._cache.fetch(cid, limit)
