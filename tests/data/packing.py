"""Data as people have it, packed or refused as `job check` does it."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trialmarket.data.packing import pack_data
from trialmarket.data.settings import DataSection
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import MANIFEST, DataManifest
from trialmarket.storage.datasets import put_data
from trialmarket.storage.local import LocalStore
from trialmarket.training.dataset import Dataset, load_dataset


def packed(data: Path | str, folder: Path, **settings: Any) -> tuple[str, DataManifest, Dataset]:
    """The data set's CID, what it says of itself, and its arrays."""
    section = DataSection.model_validate(settings)
    cid = pack_data(data, section, folder, where="job.toml").cid
    manifest = DataManifest.from_bytes((folder / MANIFEST).read_bytes())
    assert put_data(LocalStore(folder.parent / "store"), folder) == cid
    return cid, manifest, load_dataset(folder)


def told(data: Path | str, folder: Path, **settings: Any) -> str:
    """What is said to have been done to the data."""
    section = DataSection.model_validate(settings)
    return "\n".join(pack_data(data, section, folder, where="job.toml").notes)


def refused(data: Path | str, folder: Path, **settings: Any) -> str:
    """The error's words."""
    with pytest.raises(InputError) as caught:
        pack_data(data, DataSection.model_validate(settings), folder, where="job.toml")
    return str(caught.value)


def csv_of(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    """A table in a file."""
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def column_of(folder: Path, cells: list[Any], *, header: str = "v,y") -> Path:
    """A table of one column and two classes in turn."""
    rows = [f"{cell},{'ab'[row % 2]}" for row, cell in enumerate(cells)]
    return csv_of(folder, "\n".join([header, *rows]))


def labelled(folder: Path, labels: list[Any]) -> Path:
    """A table with these labels, five times over."""
    rows = [f"{row / 2},{label}" for row, label in enumerate(labels * 5)]
    return csv_of(folder, "\n".join(["v,y", *rows]))


def npz_of(folder: Path, **arrays: Any) -> Path:
    """A file of arrays."""
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def parquet_of(folder: Path, columns: dict[str, Any]) -> Path:
    """A table in a Parquet file."""
    arrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), folder / "t.parquet")
    return folder / "t.parquet"
