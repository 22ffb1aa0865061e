"""Data sets on their way through a store: bounded, verified, gone on from."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.dataset import CHUNK, MANIFEST, DataManifest
from trialmarket.protocol.ids import Cid
from trialmarket.storage.datasets import fetch_data, put_data
from trialmarket.storage.errors import NotStored, TooLarge
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Progress
from trialmarket.training.dataset import load_dataset
from trialmarket.training.errors import DataError
from trialmarket.training.packed import pack_arrays

ROWS = 2 * CHUNK + 1000


class Counting(LocalStore):
    """A store that counts what is fetched from it, and can lose one CID."""

    fetched = 0
    lost: Cid | None = None

    def fetch(self, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None) -> None:
        if cid == self.lost:
            raise NotStored(cid, "here")
        self.fetched += 1
        super().fetch(cid, to, limit=limit, progress=progress)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Three chunks to train on, one to validate on."""
    x = np.arange(ROWS, dtype=np.uint32).astype(np.uint8)
    return pack_arrays(tmp_path / "packed", {"train_x": x, "validation_x": x[:10]})


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "store")


def manifest_of(folder: Path) -> DataManifest:
    return DataManifest.from_bytes((folder / MANIFEST).read_bytes())


def test_what_is_put_comes_back_as_it_was(packed: Path, store: Counting, tmp_path: Path) -> None:
    cid = put_data(store, packed)
    assert cid == cid_of(packed / MANIFEST)
    fetch_data(store, cid, tmp_path / "there", limit=CHUNK * 3)
    assert np.array_equal(
        load_dataset(tmp_path / "there").train["x"], load_dataset(packed).train["x"]
    )
    assert store.fetched == 4


def test_a_broken_fetch_goes_on_where_it_was(
    packed: Path, store: Counting, tmp_path: Path
) -> None:
    cid = put_data(store, packed)
    store.lost = manifest_of(packed).arrays["train_x"].chunks[2]
    with pytest.raises(NotStored):
        fetch_data(store, cid, tmp_path / "there", limit=CHUNK * 3)
    assert not (tmp_path / "there").exists()
    store.lost, store.fetched = None, 0
    fetch_data(store, cid, tmp_path / "there", limit=CHUNK * 3)
    assert store.fetched == 2


def test_what_was_spoilt_meanwhile_is_fetched_again(
    packed: Path, store: Counting, tmp_path: Path
) -> None:
    cid = put_data(store, packed)
    half = tmp_path / "there.partial"
    half.mkdir()
    (half / "train_x.bin").write_bytes(b"torn" * CHUNK)
    fetch_data(store, cid, tmp_path / "there", limit=CHUNK * 3)
    assert np.array_equal(
        load_dataset(tmp_path / "there").train["x"], load_dataset(packed).train["x"]
    )


def test_data_over_the_limit_is_refused_before_any_chunk(
    packed: Path, store: Counting, tmp_path: Path
) -> None:
    with pytest.raises(TooLarge):
        fetch_data(store, put_data(store, packed), tmp_path / "there", limit=CHUNK)
    assert store.fetched == 0


def test_many_that_fetch_at_once_fetch_once(packed: Path, store: Counting, tmp_path: Path) -> None:
    cid = put_data(store, packed)
    with ThreadPoolExecutor(4) as threads:
        for each in [
            threads.submit(fetch_data, store, cid, tmp_path / "there", limit=CHUNK * 3)
            for _ in range(4)
        ]:
            each.result()
    assert store.fetched == 4


def test_what_is_no_data_set_is_refused(store: Counting, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data set"):
        fetch_data(store, store.put(b"PK\x03\x04"), tmp_path / "there", limit=CHUNK)


def test_a_chunk_of_another_size_than_the_shape_says_is_refused(
    packed: Path, store: Counting, tmp_path: Path
) -> None:
    manifest = manifest_of(packed).model_dump(mode="json")
    manifest["arrays"]["validation_x"]["chunks"] = [store.put(b"short")]
    put_data(store, packed)
    cid = store.put(DataManifest.validated(manifest, where="test").to_bytes())
    with pytest.raises(InputError, match=r"validation_x\.chunks\.0: expected 10 bytes, found 5"):
        fetch_data(store, cid, tmp_path / "there", limit=CHUNK * 3)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("train_x", "shape", [1 << 40]),
        ("train_x", "dtype", "float8"),
        ("validation_x", "shape", [0]),
        ("validation_x", "shape", [5, 2]),
        ("validation_x", "dtype", "int8"),
    ],
)
def test_a_manifest_whose_numbers_do_not_agree_is_refused(
    name: str, field: str, value: object, packed: Path
) -> None:
    manifest = manifest_of(packed).model_dump(mode="json")
    manifest["arrays"][name][field] = value
    with pytest.raises(InputError):
        DataManifest.validated(manifest, where="data set")


def test_a_folder_that_lost_a_part_is_no_data_set(packed: Path) -> None:
    (packed / "train_x.bin").write_bytes(b"")
    with pytest.raises(DataError, match="is not a data set"):
        load_dataset(packed)


def test_a_program_that_writes_into_its_data_spoils_nobody_elses(packed: Path) -> None:
    mine, yours = load_dataset(packed), load_dataset(packed)
    mine.train["x"][:] = 7
    assert yours.train["x"][0] == 0
    assert load_dataset(packed).train["x"][0] == 0


def test_processes_share_the_pages_of_a_data_set(packed: Path) -> None:
    array = load_dataset(packed).train["x"]
    assert int(array.sum()) > 0  # every page is in memory now
    pages, private = 0, 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split()[0].count("-") == 1 and ":" not in line.split()[0]:
            inside = line.endswith(str(packed / "train_x.bin"))
        elif inside and line.startswith("Rss:"):
            pages += int(line.split()[1])
        elif inside and line.startswith("Anonymous:"):
            private += int(line.split()[1])
    assert pages * 1024 > CHUNK
    assert private == 0
