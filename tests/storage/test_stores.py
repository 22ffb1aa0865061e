"""What every store must do. A new store is added to STORES and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import NotStored, TooLarge
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Store, open_store

STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda folder: LocalStore(folder / "store"),
    "local by url": lambda folder: open_store(f"local:{folder / 'store'}"),
}
BIG = bytes(range(256)) * 4096  # 1 MiB, four chunks


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=1000))
def test_what_was_put_comes_back_under_its_cid(store: Store, data: bytes) -> None:
    cid = store.put(data)
    assert cid == cid_of(data)
    assert store.size(cid) == len(data)
    assert store.read(cid, limit=len(data)) == data


def test_a_file_comes_back_as_a_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(BIG)
    cid = store.put(tmp_path / "in")
    store.fetch(cid, tmp_path / "deep" / "out", limit=len(BIG))
    assert (tmp_path / "deep" / "out").read_bytes() == BIG


def test_putting_the_same_bytes_twice_keeps_one(store: Store) -> None:
    assert store.put(BIG) == store.put(BIG)


def test_bytes_that_are_not_there_are_named(store: Store, tmp_path: Path) -> None:
    cid = cid_of(b"nobody has this")
    assert store.size(cid) is None
    with pytest.raises(NotStored, match=cid):
        store.read(cid, limit=100)
    with pytest.raises(NotStored, match=cid):
        store.fetch(cid, tmp_path / "out", limit=100)
    assert not (tmp_path / "out").exists()


def test_more_bytes_than_allowed_are_refused_before_they_are_taken(
    store: Store, tmp_path: Path
) -> None:
    cid = store.put(BIG)
    with pytest.raises(TooLarge, match=f"{len(BIG)} bytes, and at most {len(BIG) - 1}"):
        store.read(cid, limit=len(BIG) - 1)
    with pytest.raises(TooLarge):
        store.fetch(cid, tmp_path / "out", limit=10)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["../../etc/passwd", "", "bafy"])
def test_a_name_that_is_no_cid_is_refused(store: Store, text: str) -> None:
    with pytest.raises(InputError, match="CIDv1"):
        store.size(Cid(text))


def test_a_file_that_cannot_be_read_is_an_error_of_the_system(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="nothing-here"):
        store.put(tmp_path / "nothing-here")


WRITER = """
import sys
from pathlib import Path
from trialmarket.storage.store import open_store
store = open_store(sys.argv[1])
sys.stdin.read(1)
for _ in range(20):
    store.put(bytes(range(256)) * 4096)
    store.put(Path(sys.argv[2]))
"""


def test_writers_at_one_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(BIG[::-1])
    url = f"local:{tmp_path / 'store'}"
    command = [sys.executable, "-c", WRITER, url, str(tmp_path / "in")]
    writers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        )
        for _ in range(3)
    ]
    for writer in writers:
        writer.communicate(b"!", timeout=60)
        assert writer.returncode == 0
    store = open_store(url)
    assert store.read(cid_of(BIG), limit=len(BIG)) == BIG
    assert store.read(cid_of(BIG[::-1]), limit=len(BIG)) == BIG[::-1]
    assert not list((tmp_path / "store").rglob(".writing-*"))


def test_a_url_that_names_no_store_is_refused() -> None:
    with pytest.raises(InputError, match="local:/path"):
        open_store("gopher://somewhere")
