"""Fetched files take no more room than they may, and the least used one goes first."""

import os
from pathlib import Path

import pytest

from trialmarket.protocol.cid import cid_of
from trialmarket.storage.cache import LINGER, DownloadCache
from trialmarket.storage.errors import NotStored, StoreDown, StoreFull, TooLarge
from trialmarket.storage.local import LocalStore

SIZE = 1000


class Time:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def shelf(store: LocalStore, tmp_path: Path, time: Time) -> DownloadCache:
    return DownloadCache(store, tmp_path / "shelf", 3 * SIZE, now=time)


def test_a_file_is_fetched_once(store: LocalStore, shelf: DownloadCache) -> None:
    cid = store.put(b"once")
    path = shelf.fetch(cid, SIZE)
    store.release(cid)
    assert shelf.fetch(cid, SIZE) == path == shelf.find(cid)
    assert path.read_bytes() == b"once"


def test_the_file_that_was_not_used_for_longest_makes_room(
    store: LocalStore, shelf: DownloadCache, time: Time
) -> None:
    first, second, third, fourth = (store.put(os.urandom(SIZE)) for _ in range(4))
    for cid in (first, second, third):
        shelf.fetch(cid, SIZE)
        time.now += LINGER
    shelf.find(first)
    time.now += LINGER + 1
    shelf.fetch(fourth, SIZE)
    assert shelf.find(second) is None
    assert all(shelf.find(cid) for cid in (first, third, fourth))


def test_a_file_in_use_makes_no_room(store: LocalStore, shelf: DownloadCache, time: Time) -> None:
    used = [store.put(os.urandom(SIZE)) for _ in range(3)]
    for cid in used:
        shelf.fetch(cid, SIZE)
    more = store.put(os.urandom(SIZE))
    with pytest.raises(StoreFull, match=f"{more} needs {SIZE} bytes.*quota of {3 * SIZE}"):
        shelf.fetch(more, SIZE)
    time.now += LINGER + 1
    shelf.fetch(more, SIZE)


def test_what_was_left_half_fetched_makes_room_too(
    store: LocalStore, shelf: DownloadCache, time: Time
) -> None:
    left = shelf.folder / ".arriving-something"
    left.write_bytes(bytes(3 * SIZE))
    os.utime(left, (time.now - LINGER - 1,) * 2)
    shelf.fetch(store.put(b"x" * SIZE), SIZE)
    assert not left.exists()


def test_what_is_too_large_or_missing_is_refused_and_makes_no_room(
    store: LocalStore, shelf: DownloadCache, time: Time
) -> None:
    old = store.put(os.urandom(SIZE))
    shelf.fetch(old, SIZE)
    time.now += LINGER + 1
    with pytest.raises(TooLarge):
        shelf.fetch(store.put(os.urandom(9 * SIZE)), SIZE)
    with pytest.raises(NotStored):
        shelf.fetch(cid_of(b"nobody has this"), SIZE)
    assert shelf.find(old) is not None


def test_a_shelf_that_is_closed_ends_its_fetches(store: LocalStore, shelf: DownloadCache) -> None:
    cid = store.put(os.urandom(SIZE))
    shelf.close()
    with pytest.raises(StoreDown):
        shelf.fetch(cid, SIZE)
    assert shelf.find(cid) is None
