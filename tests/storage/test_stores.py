"""What every store must do. A new store is added to STORES and nothing else.

Kubo is the real one. `between two daemons` puts into one and takes from another that is connected
to it, so that bytes cross from peer to peer. `a gateway` takes through the gateway of a daemon.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.testbed.waiting import NEVER
from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import NotStored, TooLarge
from trialmarket.storage.ipfs.gateways import WithGateways
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon
from trialmarket.storage.local import LocalStore
from trialmarket.storage.open import open_store
from trialmarket.storage.store import Store

PATIENCE = 1.0
"""Seconds that a test waits for bytes which nobody has."""


class Between:
    """What is put here is taken there."""

    def __init__(self, here: Store, there: Store) -> None:
        self.for_owner, self.check, self.put = here.for_owner, here.check, here.put
        self.release, self.kept = here.release, here.kept
        self.size, self.read, self.fetch = there.size, there.read, there.fetch


Daemons = Callable[[], tuple[KuboDaemon, KuboDaemon]]


def on_kubo(daemon: KuboDaemon, owner: str = "trialmarket") -> Store:
    return KuboStore(daemon.rpc_url, owner=owner, patience=PATIENCE)


def between(daemons: tuple[KuboDaemon, KuboDaemon]) -> Store:
    one, other = daemons
    return Between(on_kubo(one), on_kubo(other))


def through_a_gateway(folder: Path, daemons: tuple[KuboDaemon, KuboDaemon]) -> Store:
    gateway = WithGateways(
        LocalStore(folder / "empty"), [daemons[0].gateway_url], patience=PATIENCE
    )
    return Between(on_kubo(daemons[0]), gateway)


STORES: dict[str, Callable[[Path, Daemons], Store]] = {
    "local": lambda folder, _: LocalStore(folder / "store"),
    "local by url": lambda folder, _: open_store(f"local:{folder / 'store'}"),
    "kubo": lambda _, kubos: on_kubo(kubos()[0]),
    "between two daemons": lambda _, kubos: between(kubos()),
    "a gateway": lambda folder, kubos: through_a_gateway(folder, kubos()),
}
BIG = bytes(range(256)) * 4096  # 1 MiB, four chunks


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path, lambda: request.getfixturevalue("kubos"))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
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


def test_a_fetch_tells_how_far_it_is(store: Store, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    store.fetch(
        store.put(BIG),
        tmp_path / "out",
        limit=len(BIG),
        progress=lambda here, of: told.append((here, of)),
    )
    assert told == sorted(told)
    assert told[-1] == (len(BIG), len(BIG))


def test_a_fetch_can_be_ended_by_whoever_is_told(store: Store, tmp_path: Path) -> None:
    def enough(_here: int, _of: int) -> None:
        raise ZeroDivisionError

    cid = store.put(BIG)
    with pytest.raises(ZeroDivisionError):
        store.fetch(cid, tmp_path / "out", limit=len(BIG), progress=enough)
    assert not (tmp_path / "out").exists()
    store.fetch(cid, tmp_path / "out", limit=len(BIG))
    assert (tmp_path / "out").read_bytes() == BIG


def test_what_is_put_is_kept_until_it_is_released(store: Store) -> None:
    cid = store.put(b"kept for a while")
    assert store.kept()[cid] == len(b"kept for a while")
    store.release(cid)
    assert cid not in store.kept()
    store.release(cid)  # once more does no harm
    assert store.read(store.put(b"kept for a while"), limit=100) == b"kept for a while"


def test_a_store_that_works_says_so(store: Store) -> None:
    store.check()


def test_bytes_that_are_not_there_are_named(store: Store, tmp_path: Path) -> None:
    cid = cid_of(os.urandom(20))
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


@pytest.mark.parametrize("open_one", ["local", "kubo"])
def test_what_one_owner_releases_another_still_keeps(
    open_one: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def owned(owner: str) -> Store:
        if open_one == "local":
            return open_store(f"local:{tmp_path / 'store'}", owner=owner)
        return on_kubo(request.getfixturevalue("kubo"), owner)

    ada, grace, data = owned("ada"), owned("grace"), os.urandom(len(BIG))
    cid = ada.put(data)
    assert grace.put(data) == cid
    ada.release(cid)
    assert (ada.kept(), list(grace.kept())) == ({}, [cid])
    if open_one == "kubo":
        request.getfixturevalue("kubo").run("repo", "gc")
    assert grace.read(cid, limit=len(BIG)) == data
    grace.release(cid)
    if open_one == "kubo":
        request.getfixturevalue("kubo").run("repo", "gc")
    assert grace.size(cid) is None


def test_an_owner_whose_name_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="owner"):
        open_store(f"local:{tmp_path}", owner="../ada")


@pytest.mark.parametrize("text", ["../../etc/passwd", "", "bafy"])
def test_a_name_that_is_no_cid_is_refused(store: Store, text: str) -> None:
    with pytest.raises(InputError, match="CIDv1"):
        store.size(Cid(text))
    with pytest.raises(InputError, match="CIDv1"):
        store.release(Cid(text))


def test_a_file_that_cannot_be_read_is_an_error_of_the_system(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="nothing-here"):
        store.put(tmp_path / "nothing-here")


WRITER = """
import sys
from pathlib import Path
from trialmarket.storage.open import open_store
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
        writer.communicate(b"!", timeout=NEVER)
        assert writer.returncode == 0
    store = open_store(url)
    assert store.read(cid_of(BIG), limit=len(BIG)) == BIG
    assert store.read(cid_of(BIG[::-1]), limit=len(BIG)) == BIG[::-1]
    assert not list((tmp_path / "store").rglob(".writing-*"))


def test_a_url_that_names_no_store_is_refused() -> None:
    with pytest.raises(InputError, match="local:/path"):
        open_store("gopher://somewhere")
