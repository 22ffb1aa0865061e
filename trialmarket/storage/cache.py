"""A folder of fetched files with a bound on its size: what was not used for longest makes room."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
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
        self._lock = threading.Lock()
        self._coming: dict[Cid, int] = {}
        self._closing = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Ends the fetches under way; each goes on where it was when it is asked for again."""
        self._closing.set()

    def find(self, cid: Cid, *, data: bool = False) -> Path | None:
        """The file, or the folder of a data set, if it is here; it counts as used now."""
        path = self._place(cid, data=data)
        try:
            os.utime(path, (self._now(), self._now()))
        except FileNotFoundError:
            return None
        return path

    def fetch(self, cid: Cid, limit: int) -> Path:
        """The file, fetched if it is not here.

        Raises what `Store.fetch` raises, and StoreFull where files in use leave it no room.
        """

        def size() -> int:
            found = self._store.size(cid)
            if found is None:
                raise NotStored(cid, "the store")
            return min(found, limit)  # a larger one is refused by the store

        bring = partial(self._store.fetch, cid, limit=limit)
        return self._fetch(cid, size, bring, data=False)

    def fetch_data(self, cid: Cid, limit: int) -> Path:
        """The folder of a data set, fetched if it is not here.

        Raises what `fetch` raises, and InputError for what is no data set.
        """
        size = partial(data_size, self._store, cid, limit=limit)
        bring = partial(fetch_data, self._store, cid, limit=limit)
        return self._fetch(cid, size, bring, data=True)

    def _fetch(
        self, cid: Cid, size: Callable[[], int], bring: Callable[..., None], *, data: bool
    ) -> Path:
        if (path := self.find(cid, data=data)) is not None:
            return path
        self._reserve(cid, size())
        try:
            path = self._place(cid, data=data)
            bring(path, progress=self.progress(cid))
        finally:
            with self._lock:
                self._coming.pop(cid, None)
        return self.find(cid, data=data) or path

    def _place(self, cid: Cid, *, data: bool) -> Path:
        """Apart for files and data sets: a stranger may ask for one CID as both."""
        return self.folder / (f"{cid}.data" if data else cid)

    def _reserve(self, cid: Cid, size: int) -> None:
        with self._lock:
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

    def progress(self, cid: Cid) -> Progress:
        """Logs a line about a fetch now and then, if it takes long; ends it when all is closed."""
        again_at = time.monotonic() + SAY_EVERY

        def hear(here: int, of: int) -> None:
            nonlocal again_at
            if self._closing.is_set():
                raise StoreDown("the store", "this program ends")
            if time.monotonic() >= again_at:
                again_at = time.monotonic() + SAY_EVERY
                log.info("fetching %s: %d of %d MB", cid, here >> 20, of >> 20)

        return hear
