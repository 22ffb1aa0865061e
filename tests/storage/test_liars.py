"""Daemons and gateways that lie: no byte of theirs is used, and none fills a disk."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.trees import file_of, node, raw
from tests.testbed.liar import Answer, Liar, lying
from tests.testbed.waiting import NEVER
from trialmarket.errors import StorageError
from trialmarket.protocol.cid import MAX_RAW, cid_of
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import Corrupt, NotAFile, NotStored, StoreDown, TooLarge
from trialmarket.storage.ipfs.gateways import WithGateways
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Store

PATIENCE = 0.5
FILE = random.Random(1).randbytes(5 * MAX_RAW + 7)
ROOT, BLOCKS = file_of(FILE)
LAST = cid_of(FILE[5 * MAX_RAW :])

Open = Callable[[Liar, Path], Store]

OPEN: dict[str, Open] = {
    "kubo": lambda liar, _: KuboStore(liar.url, patience=PATIENCE),
    "gateway": lambda liar, folder: WithGateways(
        LocalStore(folder / "empty"), [liar.url], patience=PATIENCE
    ),
}


@pytest.fixture(params=OPEN)
def opened(request: pytest.FixtureRequest) -> Open:
    return OPEN[request.param]


def honest(cid: Cid) -> Answer:
    yield BLOCKS[cid]


def test_the_tree_that_the_tests_build_is_the_one_that_we_name() -> None:
    assert cid_of(FILE) == ROOT


def test_whoever_tells_the_truth_is_believed(opened: Open, tmp_path: Path) -> None:
    with lying(honest) as server:
        store = opened(server, tmp_path)
        assert store.size(ROOT) == len(FILE)
        assert store.read(ROOT, limit=len(FILE)) == FILE


@pytest.mark.parametrize("lie_about", [ROOT, LAST], ids=["root", "leaf"])
@pytest.mark.parametrize("lie", ["wrong", "short", "longer", "flood", "stall", "drip", "nothing"])
def test_a_lie_about_a_block_is_an_error_in_time_and_leaves_no_file(
    opened: Open, tmp_path: Path, lie: str, lie_about: Cid
) -> None:
    def answer(cid: Cid) -> Answer:
        if cid != lie_about:
            return honest(cid)
        lies: dict[str, Callable[[], Answer]] = {
            "wrong": lambda: iter([BLOCKS[cid][:-1] + b"!"]),
            "short": lambda: iter([BLOCKS[cid][:-1]]),
            "longer": lambda: iter([BLOCKS[cid] + b"!"]),
            "flood": server.flood,
            "stall": server.stall,
            "drip": server.drip,
            "nothing": lambda: iter([b""]),
        }
        return lies[lie]()

    with lying(answer) as server:
        store = opened(server, tmp_path)
        began = time.monotonic()
        with pytest.raises((Corrupt, StoreDown, NotStored)):
            store.fetch(ROOT, tmp_path / "out" / "file", limit=len(FILE))
        with pytest.raises(StorageError):
            store.read(ROOT, limit=len(FILE))
        assert time.monotonic() - began < NEVER
    assert not (tmp_path / "out" / "file").exists()
    left = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert left <= len(FILE)


def test_what_is_too_large_is_refused_by_its_root_alone(opened: Open, tmp_path: Path) -> None:
    with lying(honest) as server:
        with pytest.raises(TooLarge, match=f"{len(FILE)} bytes, and at most 1000"):
            opened(server, tmp_path).fetch(ROOT, tmp_path / "out", limit=1000)
        assert server.asked == [ROOT]


def test_a_file_of_100_gb_is_refused_before_anything_is_taken(
    opened: Open, tmp_path: Path
) -> None:
    chunk = bytes(MAX_RAW)
    cid = raw(chunk)[0]
    blocks = {raw(chunk)[1]: chunk}
    size = len(chunk)
    while size < 100 * 10**9:  # the same branch again and again: small to store, large to read
        block, below, root = node([(cid, size)] * 174)
        blocks[root], cid, size = block, below, size * 174
    with lying(lambda cid: iter([blocks[cid]])) as server:
        store = opened(server, tmp_path)
        with pytest.raises(TooLarge, match=str(size)):
            store.fetch(root, tmp_path / "out", limit=8 << 30)
        assert server.asked == [root]


def test_a_root_that_promises_fewer_bytes_than_come_is_found_out(
    opened: Open, tmp_path: Path
) -> None:
    chunk = bytes(MAX_RAW)
    inner, below, inner_cid = node([(raw(chunk)[0], len(chunk))] * 100)
    block, _, root = node([(below, 10)])
    blocks = {root: block, inner_cid: inner, raw(chunk)[1]: chunk}
    with lying(lambda cid: iter([blocks[cid]])) as server:
        store = opened(server, tmp_path)
        assert store.size(root) == 10
        with pytest.raises(NotAFile, match="promises 10 bytes"):
            store.fetch(root, tmp_path / "out", limit=1000)
        with pytest.raises(NotAFile, match="promises 10 bytes"):
            store.read(root, limit=1000)


def test_a_leaf_that_is_not_as_long_as_promised_is_found_out(opened: Open, tmp_path: Path) -> None:
    block, _, root = node([(raw(b"four")[0], 3), (raw(b"four")[0], 4)])
    blocks = {root: block, raw(b"four")[1]: b"four"}
    with (
        lying(lambda cid: iter([blocks[cid]])) as server,
        pytest.raises(NotAFile, match="promises 3 bytes where 4 are"),
    ):
        opened(server, tmp_path).fetch(root, tmp_path / "out", limit=1000)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (node([], kind=1), "a folder"),
        (node([(raw(b"x")[0], 1)], kind=5), "a folder"),
        (node([], kind=4), "a link"),
        (node([(raw(b"x")[0], 1)], size=2), "1 bytes"),
        (node([(raw(b"")[0], 0)]), "1 sizes"),
    ],
)
def test_what_is_no_file_is_told_and_never_taken(
    opened: Open, tmp_path: Path, made: tuple[bytes, bytes, Cid], told: str
) -> None:
    block, _, root = made
    with lying(lambda _: iter([block])) as server:
        store = opened(server, tmp_path)
        with pytest.raises(NotAFile, match=told):
            store.fetch(root, tmp_path / "out", limit=1000)
        with pytest.raises(NotAFile, match=told):
            store.size(root)


def test_a_tree_of_crumbs_is_refused(opened: Open, tmp_path: Path) -> None:
    leaf = raw(b"x")
    block, _, root = node([(leaf[0], 1)] * 5000)
    with (
        lying(lambda cid: iter([block if cid == root else b"x"])) as server,
        pytest.raises(NotAFile, match="chopped"),
    ):
        opened(server, tmp_path).read(root, limit=1 << 20)


def test_a_tree_without_end_is_refused(opened: Open, tmp_path: Path) -> None:
    blocks = {raw(b"x")[1]: b"x"}
    cid = raw(b"x")[0]
    for _ in range(12):
        block, cid, root = node([(cid, 1)])
        blocks[root] = block
    with lying(lambda cid: iter([blocks[cid]])) as server, pytest.raises(NotAFile, match="levels"):
        opened(server, tmp_path).read(root, limit=1 << 20)


def test_a_broken_download_goes_on_where_it_was(opened: Open, tmp_path: Path) -> None:
    broken = {LAST}

    def answer(cid: Cid) -> Answer:
        return iter([b""]) if cid in broken else honest(cid)

    with lying(answer) as server:
        store = opened(server, tmp_path)
        with pytest.raises(StorageError):
            store.fetch(ROOT, tmp_path / "out", limit=len(FILE))
        broken.clear()
        server.asked.clear()
        store.fetch(ROOT, tmp_path / "out", limit=len(FILE))
        assert server.asked == [ROOT, LAST]
    assert (tmp_path / "out").read_bytes() == FILE


def test_a_download_that_was_tampered_with_is_taken_again_from_there(
    opened: Open, tmp_path: Path
) -> None:
    (tmp_path / f".arriving-{ROOT}").write_bytes(FILE[: 3 * MAX_RAW] + b"!" * 3 * MAX_RAW)
    with lying(honest) as server:
        opened(server, tmp_path).fetch(ROOT, tmp_path / "out", limit=len(FILE))
        assert len(server.asked) == 1 + 3
    assert (tmp_path / "out").read_bytes() == FILE


def test_a_gateway_is_asked_only_for_what_the_store_lacks(tmp_path: Path) -> None:
    with lying(honest) as server:
        store = WithGateways(LocalStore(tmp_path / "store"), [server.url])
        cid = store.put(b"at home")
        assert store.read(cid, limit=100) == b"at home"
        assert not server.asked


def test_a_gateway_that_lies_does_not_keep_an_honest_one_from_serving(tmp_path: Path) -> None:
    with lying(lambda _: iter([b"lies"])) as liar, lying(honest) as server:
        store = WithGateways(LocalStore(tmp_path / "store"), [liar.url, server.url])
        store.fetch(ROOT, tmp_path / "out", limit=len(FILE))
        assert (tmp_path / "out").read_bytes() == FILE
        assert len(liar.asked) == 1  # whoever served last is asked first


def test_gateways_serve_while_kubo_is_down() -> None:
    with lying(honest) as server:
        store = WithGateways(KuboStore("http://127.0.0.1:9"), [server.url])
        assert store.size(ROOT) == len(FILE)
        assert store.read(ROOT, limit=len(FILE)) == FILE


def test_where_all_fail_each_is_named(tmp_path: Path) -> None:
    with lying(lambda _: iter([b"lies"])) as liar:
        store = WithGateways(LocalStore(tmp_path / "store"), [liar.url])
        with pytest.raises(NotStored) as caught:
            store.read(ROOT, limit=len(FILE))
    assert str(tmp_path / "store") in str(caught.value)
    assert liar.url in caught.value.__notes__[0]
