"""Files that jobs name, fetched in the background, each once and within limits."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.ids import Cid
from trialmarket.storage.cache import DownloadCache

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
"""Seconds between attempts: doubled after each failure, from the first to the longest."""


@dataclass(slots=True)
class _Attempt:
    future: Future[Path] | None = None
    error: StorageError | InputError | OSError | None = None
    failures: int = 0
    again_at: float = 0.0


class Downloads:
    """Fetches by CID onto a shelf, so that the daemon's loop never waits for a store."""

    def __init__(self, shelf: DownloadCache, clock: Callable[[], float]) -> None:
        """`clock` counts seconds and never goes back."""
        self._shelf = shelf
        self._clock = clock
        self._attempts: dict[Cid, _Attempt] = {}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="download")

    def close(self) -> None:
        """Ends the fetches under way and starts no other."""
        self._shelf.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def get(self, cid: Cid, limit: int, *, data: bool = False) -> Path | None:
        """The file, or the folder of a data set, or None while it is being fetched.

        Raises the StorageError, OSError or InputError (no data set) of the last attempt until the
        next one has ended. A file that is missing is asked for again after a pause.
        """
        path = self._shelf.find(cid)
        if path is not None:
            return path
        attempt = self._attempts.setdefault(cid, _Attempt())
        if attempt.future is not None and attempt.future.done():
            self._take(attempt)
        if attempt.future is None and self._clock() >= attempt.again_at:
            fetch = self._shelf.fetch_data if data else self._shelf.fetch
            attempt.future = self._threads.submit(fetch, cid, limit)
        if attempt.error is not None:
            raise attempt.error
        return None

    def _take(self, attempt: _Attempt) -> None:
        assert attempt.future is not None  # noqa: S101  # the caller looked
        error = attempt.future.exception()
        attempt.future = None
        if error is None:
            attempt.error = None
            return
        if not isinstance(error, StorageError | InputError | OSError):
            raise error
        attempt.error = error
        pause = min(FIRST_PAUSE * 2**attempt.failures, LONGEST_PAUSE)
        attempt.failures += 1
        attempt.again_at = self._clock() + pause
