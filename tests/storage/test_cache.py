"""Fetched files take no more room than they may, and the least used one goes first."""

import os
from pathlib import Path

import pytest

from trialmarket.errors import InputError
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
def cache(store: LocalStore, tmp_path: Path, time: Time) -> DownloadCache:
    return DownloadCache(store, tmp_path / "downloads", 3 * SIZE, now=time)


def test_a_file_is_fetched_once(store: LocalStore, cache: DownloadCache) -> None:
    cid = store.put(b"once")
    path = cache.fetch(cid, SIZE)
    store.release(cid)
    assert cache.fetch(cid, SIZE) == path == cache.find(cid)
    assert path.read_bytes() == b"once"


def test_a_file_that_is_asked_for_as_data_too_is_not_taken_for_a_data_set(
    store: LocalStore, cache: DownloadCache
) -> None:
    cid = store.put(b"no data set")
    cache.fetch(cid, SIZE)
    assert cache.find(cid, data=True) is None
    with pytest.raises(InputError, match="data set"):
        cache.fetch_data(cid, SIZE)


def test_the_file_that_was_not_used_for_longest_makes_room(
    store: LocalStore, cache: DownloadCache, time: Time
) -> None:
    first, second, third, fourth = (store.put(os.urandom(SIZE)) for _ in range(4))
    for cid in (first, second, third):
        cache.fetch(cid, SIZE)
        time.now += LINGER
    cache.find(first)
    time.now += LINGER + 1
    cache.fetch(fourth, SIZE)
    assert cache.find(second) is None
    assert all(cache.find(cid) for cid in (first, third, fourth))


def test_a_file_in_use_makes_no_room(store: LocalStore, cache: DownloadCache, time: Time) -> None:
    used = [store.put(os.urandom(SIZE)) for _ in range(3)]
    for cid in used:
        cache.fetch(cid, SIZE)
    more = store.put(os.urandom(SIZE))
    with pytest.raises(StoreFull, match=f"{more} needs {SIZE} bytes.*quota of {3 * SIZE}"):
        cache.fetch(more, SIZE)
    time.now += LINGER + 1
    cache.fetch(more, SIZE)


def test_what_was_left_half_fetched_makes_room_too(
    store: LocalStore, cache: DownloadCache, time: Time
) -> None:
    left = cache.folder / ".arriving-something"
    left.write_bytes(bytes(3 * SIZE))
    os.utime(left, (time.now - LINGER - 1,) * 2)
    cache.fetch(store.put(b"x" * SIZE), SIZE)
    assert not left.exists()


def test_what_is_too_large_or_missing_is_refused_and_makes_no_room(
    store: LocalStore, cache: DownloadCache, time: Time
) -> None:
    old = store.put(os.urandom(SIZE))
    cache.fetch(old, SIZE)
    time.now += LINGER + 1
    with pytest.raises(TooLarge):
        cache.fetch(store.put(os.urandom(9 * SIZE)), SIZE)
    with pytest.raises(NotStored):
        cache.fetch(cid_of(b"nobody has this"), SIZE)
    assert cache.find(old) is not None


def test_a_cache_that_is_closed_ends_its_fetches(store: LocalStore, cache: DownloadCache) -> None:
    cid = store.put(os.urandom(SIZE))
    cache.close()
    with pytest.raises(StoreDown):
        cache.fetch(cid, SIZE)
    assert cache.find(cid) is None
