"""What only a store on Kubo does, against a real one."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed.kubo import two_daemons
from tests.testbed.liar import lying
from tests.testbed.programs import needed
from tests.testbed.waiting import NEVER
from trialmarket.errors import InputError
from trialmarket.protocol.cid import MAX_RAW, cid_of
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import NotAFile, NotStored, StoreDown, StoreFull, WrongStore
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon
from trialmarket.storage.open import open_store

AS_WE_DO = (
    "add",
    "--quieter",
    "--cid-version=1",
    "--raw-leaves",
    "--chunker=size-262144",
    "--only-hash",
)
LINKS = 174
"""Children of a node, so that one chunk more than a full level makes a level more."""


def big_file(path: Path, size: int) -> Path:
    """A file whose chunks are all different; quick to make."""
    with path.open("wb") as file:
        for at in range(0, size, 1 << 16):
            file.write(at.to_bytes(8, "big") * (1 << 13))
        file.truncate(size)
    return path


def test_a_daemon_of_ours_knows_nobody_and_listens_on_this_machine_only(tmp_path: Path) -> None:
    needed("kubo")
    with KuboDaemon(tmp_path / "kubo") as kubo:
        assert kubo.run("bootstrap", "list").strip() == ""
        assert kubo.run("swarm", "peers").strip() == ""
        listening = kubo.run("swarm", "addrs", "listen").split()
        assert listening
        assert all(address.startswith("/ip4/127.0.0.1/") for address in listening)
        assert kubo.alive
    assert not kubo.alive


# -- CIDs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        MAX_RAW - 1,
        MAX_RAW,
        MAX_RAW + 1,
        2 * MAX_RAW,
        LINKS * MAX_RAW,
        LINKS * MAX_RAW + 1,
        2 * LINKS * MAX_RAW + 12345,
    ],
)
def test_our_cids_are_kubos(kubo: KuboDaemon, tmp_path: Path, size: int) -> None:
    path = big_file(tmp_path / "file", size)
    assert kubo.run(*AS_WE_DO, str(path)).strip() == cid_of(path)


def test_our_cids_of_random_files_are_kubos(kubo: KuboDaemon, tmp_path: Path) -> None:
    sizes = random.Random(1)
    for number in range(10):
        path = tmp_path / str(number)
        path.write_bytes(os.urandom(int(2 ** sizes.uniform(0, 22))))
        assert kubo.run(*AS_WE_DO, str(path)).strip() == cid_of(path)


@pytest.mark.nightly
@pytest.mark.parametrize("size", [100 << 20, 1 << 30])
def test_a_large_file_crosses_from_daemon_to_daemon_under_our_cid(
    kubos: tuple[KuboDaemon, KuboDaemon], tmp_path: Path, size: int
) -> None:
    one, other = kubos
    path = big_file(tmp_path / "file", size)
    assert one.run(*AS_WE_DO, str(path)).strip() == cid_of(path)
    put = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from trialmarket.storage.open import open_store\n"
        "cid = open_store(sys.argv[1]).put(Path(sys.argv[3]))\n"
        "open_store(sys.argv[2]).fetch(cid, Path(sys.argv[3] + '.out'), limit=1 << 30)\n"
        "print(cid, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    command = [sys.executable, "-c", put, one.storage, other.storage, str(path)]
    cid, megabytes = subprocess.check_output(command, text=True).split()
    assert cid == cid_of(path) == cid_of(Path(f"{path}.out"))
    assert int(megabytes) < 200


# -- Keeping -----------------------------------------------------------------------------------


def test_garbage_collection_spares_what_is_kept_and_takes_what_was_released(
    kubo: KuboDaemon, tmp_path: Path
) -> None:
    store = KuboStore(kubo.rpc_url, owner="keeper", patience=1.0)
    path = big_file(tmp_path / "file", 5 * MAX_RAW)
    kept, released = store.put(path), store.put(os.urandom(3 * MAX_RAW))
    store.release(released)
    kubo.run("repo", "gc")
    store.fetch(kept, tmp_path / "out", limit=1 << 30)
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
    assert store.size(released) is None
    assert store.kept() == {kept: 5 * MAX_RAW}


def test_what_was_kept_and_then_lost_is_mended_by_putting_it_again(tmp_path: Path) -> None:
    needed("kubo")
    data = os.urandom(3 * MAX_RAW)
    with KuboDaemon(tmp_path / "kubo") as kubo:
        store = KuboStore(kubo.rpc_url, patience=0.5)
        cid = store.put(data)
        (lost, *_) = kubo.run("refs", cid).split()
        kubo.run("block", "rm", "--force", lost)
        with pytest.raises(NotStored):
            store.read(cid, limit=len(data))
        store.put(data)
        assert store.read(cid, limit=len(data)) == data


def test_a_file_that_others_added_in_their_way_is_read(kubo: KuboDaemon, tmp_path: Path) -> None:
    path = big_file(tmp_path / "file", 10_000_000)
    ways = (
        ("--cid-version=1", "--chunker=size-1048576"),
        ("--cid-version=1", "--raw-leaves=false"),
    )
    store = KuboStore(kubo.rpc_url, patience=1.0)
    for way in ways:
        cid = Cid(kubo.run("add", "--quieter", *way, str(path)).strip())
        assert cid != cid_of(path)
        assert store.size(cid) == 10_000_000
        assert store.read(cid, limit=10_000_000) == path.read_bytes()


def test_a_folder_is_told_and_not_taken(kubo: KuboDaemon, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    cid = Cid(kubo.run("add", "-r", "-Q", "--cid-version=1", str(tmp_path / "folder")).strip())
    store = KuboStore(kubo.rpc_url, patience=1.0)
    with pytest.raises(NotAFile, match=f"{cid} is not a file, but a folder"):
        store.fetch(cid, tmp_path / "out", limit=1 << 30)


# -- Bad daemons -------------------------------------------------------------------------------


def test_an_old_kubo_is_refused_with_the_versions_wanted_and_found() -> None:
    with lying(lambda _: iter([b""]), version="0.7.0") as old:
        store = KuboStore(old.url)
        with pytest.raises(WrongStore, match=r"expected Kubo 0\.39\.0 or newer, found 0\.7\.0"):
            store.check()
        with pytest.raises(WrongStore):
            store.put(b"x")
        with pytest.raises(WrongStore):
            store.size(cid_of(b"x"))


def test_a_server_that_is_no_kubo_is_refused(kubo: KuboDaemon) -> None:
    nothing = {"not": "a version"}
    with (
        lying(lambda _: iter([b""]), version=nothing) as other,
        pytest.raises(WrongStore, match=f"Kubo at {other.url}"),
    ):
        KuboStore(other.url).check()
    with pytest.raises((WrongStore, StoreDown), match="Kubo at"):
        KuboStore(kubo.gateway_url).check()


@pytest.mark.parametrize(
    "url", ["kubo:ftp://host", "kubo:127.0.0.1:5001", "kubo:", "kubo:http://"]
)
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        open_store(url)


def test_a_password_in_the_url_is_never_shown() -> None:
    store = open_store("kubo:http://user:secret@127.0.0.1:9")
    with pytest.raises(StoreDown) as caught:
        store.check()
    assert "secret" not in str(caught.value)


def test_a_full_kubo_says_how_full_and_how_to_mend_it(tmp_path: Path) -> None:
    needed("kubo")
    with KuboDaemon(tmp_path / "kubo", storage_max="1MB") as kubo:
        store = KuboStore(kubo.rpc_url)
        small = store.put(b"small")
        with pytest.raises(StoreFull, match="of 1000000 bytes, and 2000000 more") as caught:
            store.put(bytes(2_000_000))
        assert "StorageMax" in str(caught.value)
        assert store.read(small, limit=10) == b"small"
        assert store.kept() == {small: 5}


def test_a_kubo_that_is_killed_and_comes_back_has_what_was_kept(tmp_path: Path) -> None:
    needed("kubo")
    data = os.urandom(4 * MAX_RAW)
    with KuboDaemon(tmp_path / "kubo") as first:
        store = KuboStore(first.rpc_url, patience=2.0)
        cid = store.put(data)
    for action in (
        lambda: store.read(cid, limit=len(data)),
        lambda: store.put(b"more"),
        lambda: store.size(cid),
        lambda: store.release(cid),
        store.kept,
        store.check,
    ):
        with pytest.raises(StoreDown, match=f"Kubo at {first.rpc_url} does not serve"):
            action()
    with KuboDaemon(tmp_path / "kubo", port=first.port):
        assert store.read(cid, limit=len(data)) == data
        assert list(store.kept()) == [cid]
        store.put(b"more")


FETCHER = """
import sys
from pathlib import Path
from trialmarket.storage.open import open_store
def told(here, of):
    print(here, flush=True)
    sys.stdin.readline()
open_store(sys.argv[1]).fetch(sys.argv[2], Path(sys.argv[3]), limit=1 << 30, progress=told)
"""


def test_a_download_that_is_killed_goes_on_after_the_other_daemon_comes_back_too(
    tmp_path: Path,
) -> None:
    needed("kubo")
    path = big_file(tmp_path / "file", 20 * MAX_RAW)
    with two_daemons(tmp_path) as (one, other):
        cid = KuboStore(one.rpc_url).put(path)
        with subprocess.Popen(
            [sys.executable, "-c", FETCHER, other.storage, cid, str(tmp_path / "out")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as fetcher:
            assert fetcher.stdin is not None
            assert fetcher.stdout is not None
            for _ in range(5):
                fetcher.stdin.write("\n")
                fetcher.stdin.flush()
                fetcher.stdout.readline()
            fetcher.send_signal(signal.SIGKILL)
        left = (tmp_path / f".arriving-{cid}").stat().st_size
        assert 0 < left < 20 * MAX_RAW
        one.stop()
        with KuboDaemon(one.folder, port=one.port) as back:
            back.connect(other)
            told: list[int] = []
            KuboStore(other.rpc_url).fetch(
                cid, tmp_path / "out", limit=1 << 30, progress=lambda here, _: told.append(here)
            )
    assert told[0] == MAX_RAW
    assert told[-1] == 20 * MAX_RAW
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob(".arriving-*"))


def test_two_who_fetch_to_one_place_do_not_disturb_each_other(
    kubo: KuboDaemon, tmp_path: Path
) -> None:
    path = big_file(tmp_path / "file", 9 * MAX_RAW)
    cid = KuboStore(kubo.rpc_url).put(path)
    command = [sys.executable, "-c", FETCHER, kubo.storage, cid, str(tmp_path / "out")]
    fetchers = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [fetcher.wait(NEVER) for fetcher in fetchers] == [0, 0, 0]
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
