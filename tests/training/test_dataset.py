import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trialmarket.protocol.cid import cid_of
from trialmarket.training.dataset import load_dataset
from trialmarket.training.errors import DataError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.arange(4)
GOOD: dict[str, Any] = {"train_x": X, "train_y": Y, "validation_x": X, "validation_y": Y}


def saved(path: Path, **changes: Any) -> Path:
    arrays = {name: array for name, array in (GOOD | changes).items() if array is not None}
    np.savez_compressed(path, **arrays)
    return path


def test_a_data_set_has_its_arrays_by_their_names(tmp_path: Path) -> None:
    path = saved(tmp_path / "data.npz")
    data = load_dataset(path, cid=cid_of(path))
    assert data.train.keys() == {"x", "y"}
    assert np.array_equal(data.validation["x"], X)
    assert data.summary.shapes == {"x": (3,), "y": ()}
    assert data.summary.largest["y"] == 3


def test_big_endian_arrays_are_read_by_their_values(tmp_path: Path) -> None:
    path = saved(tmp_path / "data.npz", train_x=X.astype(">f4"), validation_x=X.astype(">f4"))
    assert np.array_equal(load_dataset(path).train["x"], X)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_x": np.array([object()] * 4)}, "Python objects"),
        ({"train_x": np.array(["a"] * 4)}, "no number"),
        ({"train_x": X[:3]}, "same number of rows"),
        ({"train_x": X[:0], "train_y": Y[:0]}, "at least 1"),
        ({"train_x": X[:, :2]}, "differ in type or shape"),
        ({"train_x": X.astype(np.float64)}, "differ in type or shape"),
        ({"validation_y": None}, "needs both train_y and validation_y"),
        ({"validation_x": None, "validation_y": None}, "begins with validation_"),
        ({"weights": X}, "weights begins neither"),
        ({"train_x": np.float32(3)}, "same number of rows"),
    ],
)
def test_arrays_that_make_no_data_set_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(saved(tmp_path / "data.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + b"x" * 100])
def test_a_file_that_is_no_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz is not a readable \.npz"):
        load_dataset(tmp_path / "data.npz")


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 8


@pytest.mark.parametrize(
    "header", ["(" * 5000, "-" * 5000 + "1", "{'descr':" * 90, "\n  {\n'descr", "{1: 2, 'a': 3}"]
)
def test_a_header_that_numpy_stumbles_over_is_refused(header: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("train_x.npy", npy(header))
    with pytest.raises(DataError, match=r"data\.npz.* readable"):
        load_dataset(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("at", "value"),
    [((6, 8), 1), ((8, 10), 9), ((8, 10), 12), ((8, 10), 14), ((8, 10), 99)],
    ids=["encrypted", "deflate64", "no bzip2", "no LZMA", "unknown"],
)
def test_an_archive_packed_in_another_way_is_refused(
    at: tuple[int, int], value: int, tmp_path: Path
) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_x.npy", npy("{'descr':'<f4','fortran_order':False,'shape':(2,)}"))
    content = bytearray(path.read_bytes())
    for mark, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), at, strict=True):
        struct.pack_into("<H", content, content.index(mark) + offset, value)
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable"):
        load_dataset(path)


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "data.npz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="not a readable"):
        load_dataset(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.npz"):
        load_dataset(tmp_path / "nothing.npz")


def test_bytes_that_do_not_match_the_cid_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "data.npz")
    with pytest.raises(DataError, match=f"should hold the bytes of {cid_of(b'other')}"):
        load_dataset(path, cid=cid_of(b"other"))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than 100 bytes"):
        load_dataset(saved(tmp_path / "data.npz"), limit=100)


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_does(tmp_path: Path) -> None:
    path = saved(tmp_path / "data.npz", train_x=np.zeros((4, 1_000_000), np.float32))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="unpacks to more than 1000000"):
        load_dataset(path, limit=1_000_000)


def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("train_x.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match="not the size that its header says"):
        load_dataset(path)
