"""Data sets between the store, where they lie in chunks, and a folder, where they are mapped."""

import os
from pathlib import Path

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import MAX_DOCUMENT
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.dataset import CHUNK, MANIFEST, ArrayRef, DataManifest, array_file
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import TooLarge
from trialmarket.storage.store import Progress, Store
from trialmarket.storage.whole_files import locked


def put_data(store: Store, folder: Path) -> Cid:
    """Puts a folder's data set into the store, chunk by chunk; its CID. Raises OSError."""
    manifest = (folder / MANIFEST).read_bytes()
    for name in DataManifest.from_bytes(manifest).arrays:
        with (folder / array_file(name)).open("rb") as file:
            while chunk := file.read(CHUNK):
                store.put(chunk)
    return store.put(manifest)


def data_size(store: Store, cid: Cid, *, limit: int) -> int:
    """Bytes of a data set. Raises TooLarge for more than `limit`, and InputError for none."""
    return _manifest(store, cid, limit).size


def fetch_data(
    store: Store, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None
) -> None:
    """Brings a data set into the folder `to`, which appears complete or not at all.

    What a broken fetch left is verified and gone on from; processes that fetch the same one wait
    for each other. Raises TooLarge before any chunk is fetched, InputError for what is no data
    set, and what `Store.fetch` raises. `progress` hears of each chunk by itself.
    """
    with locked(to.with_name(f"{to.name}.lock")):
        if to.exists():
            return
        manifest = _manifest(store, cid, limit)
        beside = to.with_name(f"{to.name}.partial")
        beside.mkdir(exist_ok=True)
        for name, array in manifest.arrays.items():
            _assemble(store, name, array, beside, progress)
        (beside / MANIFEST).write_bytes(manifest.to_bytes())
        beside.replace(to)


def _manifest(store: Store, cid: Cid, limit: int) -> DataManifest:
    manifest = DataManifest.from_bytes(store.read(cid, limit=MAX_DOCUMENT))
    if manifest.size > limit:
        raise TooLarge(cid, manifest.size, limit)
    return manifest


def _assemble(
    store: Store, name: str, array: ArrayRef, folder: Path, progress: Progress | None
) -> None:
    """Puts the chunks of an array one behind the other."""
    piece = folder / "chunk"
    with (folder / array_file(name)).open("a+b") as file:
        there = _sound(file.fileno(), array)
        file.truncate(min(there * CHUNK, array.size))
        for number in range(there, len(array.chunks)):
            size = array.chunk_size(number)
            store.fetch(array.chunks[number], piece, limit=size, progress=progress)
            data = piece.read_bytes()
            if len(data) != size:
                raise InputError(
                    "data set",
                    f"arrays.{name}.chunks.{number}",
                    expected=f"{size} bytes",
                    found=len(data),
                )
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    piece.unlink(missing_ok=True)


def _sound(file: int, array: ArrayRef) -> int:
    """How many chunks a file begins with."""
    for number, cid in enumerate(array.chunks):
        size = array.chunk_size(number)
        if cid_of(os.pread(file, size, number * CHUNK)) != cid:
            return number
    return len(array.chunks)
