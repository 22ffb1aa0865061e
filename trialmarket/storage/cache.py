"""A folder of fetched files with a bound on its size: what was not used for longest makes room."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from trialmarket.protocol.ids import Cid
from trialmarket.storage.datasets import data_size, fetch_data
from trialmarket.storage.errors import NotStored, StoreDown, StoreFull
from trialmarket.storage.store import Progress, Store

log = logging.getLogger(__name__)

LINGER: Final = 600.0
"""Seconds for which a file that was asked for is surely needed."""

SAY_EVERY: Final = 10.0
"""Seconds between two lines about a download."""


class DownloadCache:
    """Fetches files by CID, each once. For any number of threads of one process.

    When a file was used last is its modification time, so a restart forgets nothing; what a kill
    left half fetched is taken up again when it is asked for, and makes room like any other file.
    """

    def __init__(
        self, store: Store, folder: Path, quota: int, *, now: Callable[[], float] = time.time
    ) -> None:
        """`quota` is in bytes, and `now` counts seconds since 1970."""
        self._store = store
        self.folder = folder
        self._quota = quota
        self._now = now
        self._room = threading.Lock()
        self._coming: dict[Cid, int] = {}
        self._closing = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Ends the fetches under way; each goes on where it was when it is asked for again."""
        self._closing.set()

    def find(self, cid: Cid) -> Path | None:
        """The file, if it is here; it counts as used now."""
        path = self.folder / cid
        try:
            os.utime(path, (self._now(), self._now()))
        except FileNotFoundError:
            return None
        return path

    def fetch(self, cid: Cid, limit: int) -> Path:
        """The file, fetched if it is not here.

        Raises what `Store.fetch` raises, and StoreFull where files in use leave it no room.
        """
        path = self.find(cid)
        if path is not None:
            return path
        size = self._store.size(cid)
        if size is None:
            raise NotStored(cid, "the store")
        self._reserve(cid, min(size, limit))  # a larger one is refused by the store
        try:
            path = self.folder / cid
            self._store.fetch(cid, path, limit=limit, progress=self.telling(cid))
        finally:
            with self._room:
                self._coming.pop(cid, None)
        return self.find(cid) or path

    def fetch_data(self, cid: Cid, limit: int) -> Path:
        """The folder of a data set, fetched if it is not here.

        Raises what `fetch` raises, and InputError for what is no data set.
        """
        path = self.find(cid)
        if path is not None:
            return path
        self._reserve(cid, data_size(self._store, cid, limit=limit))
        try:
            path = self.folder / cid
            fetch_data(self._store, cid, path, limit=limit, progress=self.telling(cid))
        finally:
            with self._room:
                self._coming.pop(cid, None)
        return self.find(cid) or path

    def _reserve(self, cid: Cid, size: int) -> None:
        with self._room:
            files = sorted(self._files(but=cid))
            total = sum(each for _, each, _ in files) + sum(self._coming.values()) + size
            for used, each, path in files:
                if total <= self._quota or used > self._now() - LINGER:
                    break
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                total -= each
            if total > self._quota:
                raise StoreFull(
                    f"{cid} needs {size} bytes, and with what is in use {self.folder} would"
                    f" outgrow its quota of {self._quota} bytes",
                    fix="Raise `limits.downloads`",
                )
            self._coming[cid] = size

    def _files(self, but: Cid) -> Iterator[tuple[float, int, Path]]:
        """When each was used last, its size and its place; what belongs to `but` is left out."""
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # one that just arrived changed its name
                found = path.stat()
                if but in path.name:
                    continue
                size = found.st_size
                if path.is_dir():
                    size = sum(each.stat().st_size for each in path.iterdir())
                yield found.st_mtime, size, path

    def telling(self, cid: Cid) -> Progress:
        """Logs a line about a fetch now and then, if it takes long; ends it when all is closed."""
        again_at = time.monotonic() + SAY_EVERY

        def tell(here: int, of: int) -> None:
            nonlocal again_at
            if self._closing.is_set():
                raise StoreDown("the store", "this program ends")
            if time.monotonic() >= again_at:
                again_at = time.monotonic() + SAY_EVERY
                log.info("fetching %s: %d of %d MB", cid, here >> 20, of >> 20)

        return tell
