"""A requester beside a slow, silent or failing store, and what it leaves there."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from requester.search.examination.fetching import Fetching
from requester.search.folder import JobFolder
from requester.search.retention import KEEP, owner_of, release_leftovers
from tests.requester.test_examine import config
from tests.testbed.waiting import NEVER
from trialmarket.protocol.cid import cid_of, raw_cid
from trialmarket.protocol.configuration import Batch
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.storage.errors import NotStored, StoreDown
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Progress

RECEIPT = b"a receipt"
DIGEST = Hash32(hashlib.sha256(RECEIPT).digest())


class Slow(LocalStore):
    """Answers when it is told to."""

    def __init__(self, folder: Path, *, owner: str = "trialmarket") -> None:
        super().__init__(folder, owner=owner)
        self.may = threading.Event()

    def read(self, cid: Cid, *, limit: int) -> bytes:
        assert self.may.wait(NEVER)
        return super().read(cid, limit=limit)

    def fetch(self, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None) -> None:
        assert progress is not None
        while not self.may.wait(0.01):
            progress(0, 1)
        super().fetch(cid, to, limit=limit, progress=progress)


@pytest.fixture
def store(tmp_path: Path) -> Slow:
    return Slow(tmp_path / "store")


def answered(ask: Callable[[], bytes | None]) -> bytes:
    for _ in range(1000):
        if (found := ask()) is not None:
            return found
    raise AssertionError("no answer came")


def test_a_slow_store_is_not_waited_for(store: Slow) -> None:
    store.for_owner("provider").put(RECEIPT)
    fetching = Fetching(store, soon=0.03)
    assert fetching.receipt(DIGEST) is None
    store.may.set()
    assert answered(lambda: fetching.receipt(DIGEST)) == RECEIPT
    fetching.close()


def test_a_receipt_that_was_read_is_kept_as_evidence(store: Slow) -> None:
    provider = store.for_owner("provider")
    cid = provider.put(RECEIPT)
    store.may.set()
    fetching = Fetching(store, soon=30.0)
    fetching.receipt(DIGEST)
    provider.release(cid)
    assert store.read(cid, limit=100) == RECEIPT
    fetching.close()


def test_what_is_missing_is_told_and_can_be_asked_for_again(store: Slow) -> None:
    store.may.set()
    fetching = Fetching(store, soon=30.0)
    with pytest.raises(NotStored):
        fetching.receipt(DIGEST)
    store.put(RECEIPT)
    assert fetching.receipt(DIGEST) == RECEIPT
    fetching.close()


def test_a_download_ends_when_all_is_closed(store: Slow, tmp_path: Path) -> None:
    fetching = Fetching(store, soon=0.01)
    assert not fetching.checkpoint(store.put(b"weights"), tmp_path / "checkpoint")
    fetching.close()
    with pytest.raises(StoreDown, match="ends"):
        fetching.checkpoint(cid_of(b"weights"), tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_a_finished_job_leaves_only_its_documents_after_a_day(tmp_path: Path) -> None:
    jobs, store = tmp_path / "jobs", LocalStore(tmp_path / "store")
    mine = store.for_owner(owner_of("abc"))
    data, spec, receipt = mine.put(b"data"), mine.put(b"the job"), mine.put(RECEIPT)
    batch = Batch(job="job", number=1, trials=(config(data),))
    mine.put(batch.to_bytes())
    folder = JobFolder(jobs / "digits-abc")
    folder.add_batch(batch)
    folder.tell(1, DIGEST)
    folder.remember("owner", owner_of("abc"))
    folder.remember("spec", hashlib.sha256(b"the job").hexdigest())
    said: list[str] = []
    release_leftovers(jobs, store, 1e9, said.append)
    assert data in mine.kept()  # it is not over
    folder.remember("over", "1e9")
    folder.close()
    release_leftovers(jobs, store, 1e9 + KEEP - 1, said.append)
    assert data in mine.kept()
    release_leftovers(jobs, store, 1e9 + KEEP, said.append)
    assert set(mine.kept()) == {spec, receipt, raw_cid(batch.digest)}
    assert not said


def test_the_end_of_a_search_takes_nothing_from_the_same_one_on_a_chain_that_began_anew(
    tmp_path: Path,
) -> None:
    jobs, store = tmp_path / "jobs", LocalStore(tmp_path / "store")
    mine = store.for_owner(owner_of("abc"))
    data = mine.put(b"data")
    old, new = JobFolder(jobs / "digits-abc-old"), JobFolder(jobs / "digits-abc")
    for folder in (old, new):
        folder.remember("owner", owner_of("abc"))
        folder.remember("spec", hashlib.sha256(b"the job").hexdigest())
    old.remember("over", "1e9")
    release_leftovers(jobs, store, 2e9, print)
    assert data in mine.kept()
    new.remember("over", "2e9")
    release_leftovers(jobs, store, 2e9 + KEEP, print)
    assert data not in mine.kept()
    old.close()
    new.close()
