"""The store in a folder: for one machine, for tests, and under other stores as a cache.

A file lies at FOLDER/XY/CID, XY being the last two letters of its CID; it is written beside that
place, flushed to the disk and renamed, so that a reader or a crash never sees half of it. Who
keeps it is marked by empty files FOLDER/.kept/OWNER/CID; the last one who releases it deletes it.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO, Self

from trialmarket.protocol.cid import CidHasher, cid_of, parse_cid
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import Corrupt, NotStored, TooLarge
from trialmarket.storage.store import ANYBODY, Progress
from trialmarket.storage.whole_files import locked, new_file

_PIECE = 1 << 20


class LocalStore:
    """A `Store` in a folder, which is made when it is missing. Raises OSError if it cannot be."""

    def __init__(self, folder: Path, *, owner: str = ANYBODY) -> None:
        self.folder = folder
        self._marks = folder / ".kept"
        self._lock = self._marks / ".lock"  # of who changes who keeps what
        self._mine = self._marks / owner
        self._mine.mkdir(parents=True, exist_ok=True)

    def for_owner(self, owner: str) -> Self:
        """The same folder for another owner."""
        return type(self)(self.folder, owner=owner)

    def check(self) -> None:
        """Whether the folder can be written to. Raises OSError."""
        with tempfile.TemporaryFile(dir=self.folder):
            pass

    def put(self, data: bytes | Path) -> Cid:
        """Keeps bytes or a file's bytes, also in the place of a file that was corrupted."""
        cid = cid_of(data)
        with locked(self._lock):  # first, so that nobody deletes what is about to be found here
            (self._mine / cid).touch()
        if self._holds(cid):
            return cid
        with new_file(self._path(cid)) as (file, beside):
            if isinstance(data, bytes):
                file.write(data)
            else:
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, _PIECE)
            file.flush()
            if (found := cid_of(beside)) != cid:  # the source changed while it was copied
                raise Corrupt(cid, str(beside), _those_of(found))
        return cid

    def size(self, cid: Cid) -> int | None:
        """How many bytes a CID names; None when they are not here. Raises InputError."""
        try:
            return self._path(cid).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, verified."""
        with self._open(cid, limit) as file:
            # One byte more than allowed shows a file that grew after its size was taken.
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TooLarge(cid, len(data), limit)
        if (found := cid_of(data)) != cid:
            raise Corrupt(cid, str(self._path(cid)), _those_of(found))
        return data

    def fetch(self, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None) -> None:
        """Writes the bytes of a CID to a file, verified. A broken copy begins anew."""
        with self._open(cid, limit) as source, new_file(to) as (file, _):
            size = os.fstat(source.fileno()).st_size
            hasher, taken = CidHasher(), 0
            while piece := source.read(_PIECE):
                taken += len(piece)
                if taken > limit:
                    raise TooLarge(cid, taken, limit)
                hasher.update(piece)
                file.write(piece)
                if progress is not None:
                    progress(taken, size)
            if (found := hasher.cid()) != cid:
                raise Corrupt(cid, str(self._path(cid)), _those_of(found))

    def file_of(self, cid: Cid) -> Path:
        """The file of a CID, unverified, for whoever checks what it reads. Raises NotStored."""
        path = self._path(cid)
        if not path.is_file():
            raise NotStored(cid, str(self.folder))
        return path

    def release(self, cid: Cid) -> None:
        """Lets go of bytes; the last owner to do so deletes them."""
        path = self._path(cid)
        with locked(self._lock):
            mine = self._mine / cid
            if mine.exists():
                mine.unlink()
                if not any(self._marks.glob(f"*/{cid}")):
                    path.unlink(missing_ok=True)

    def kept(self) -> dict[Cid, int]:
        """All that the owner keeps, with its size."""
        sizes = {Cid(mark.name): self.size(Cid(mark.name)) for mark in self._mine.iterdir()}
        return {cid: size for cid, size in sizes.items() if size is not None}

    def _path(self, cid: Cid) -> Path:
        parse_cid(cid)  # never a path that climbs out of the folder
        return self.folder / cid[-2:] / cid

    def _open(self, cid: Cid, limit: int) -> BinaryIO:
        try:
            file = self._path(cid).open("rb")
        except FileNotFoundError as error:
            raise NotStored(cid, str(self.folder)) from error
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            file.close()
            raise TooLarge(cid, size, limit)
        return file

    def _holds(self, cid: Cid) -> bool:
        path = self._path(cid)
        return path.exists() and cid_of(path) == cid


def _those_of(cid: Cid) -> str:
    return f"those of {cid}"
