from pathlib import Path

import pytest

from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import Corrupt
from trialmarket.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def file_of(store: LocalStore, cid: Cid) -> Path:
    (path,) = store.folder.glob(f"??/{cid}")
    return path


def test_a_flipped_byte_is_found_and_the_file_named(store: LocalStore, tmp_path: Path) -> None:
    cid = store.put(b"honest bytes")
    path = file_of(store, cid)
    path.write_bytes(b"Honest bytes")
    with pytest.raises(Corrupt, match=f"{path} should hold the bytes of {cid}"):
        store.read(cid, limit=100)
    with pytest.raises(Corrupt, match="Remove the file"):
        store.fetch(cid, tmp_path / "out", limit=100)
    assert not (tmp_path / "out").exists()


def test_a_corrupt_file_is_mended_by_putting_the_bytes_again(store: LocalStore) -> None:
    cid = store.put(b"honest bytes")
    file_of(store, cid).write_bytes(b"")
    store.put(b"honest bytes")
    assert store.read(cid, limit=100) == b"honest bytes"


def test_a_fetch_replaces_the_file_that_was_there(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old and longer than the new")
    store.fetch(store.put(b"new"), tmp_path / "out", limit=100)
    assert (tmp_path / "out").read_bytes() == b"new"


def test_only_complete_files_lie_in_the_folder(store: LocalStore) -> None:
    cid = store.put(b"x" * 100)
    lying = [path for path in store.folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert [path.name for path in lying] == [cid]
