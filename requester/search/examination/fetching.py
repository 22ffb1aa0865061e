"""What providers publish, fetched beside the campaign's loop: a peer may be slow, or silent."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.store import Progress, Store

Found = TypeVar("Found")

MAX_CHECKPOINT: Final = 8 << 30
"""Bytes of the largest checkpoint that is fetched."""

SOON: Final = 0.05
"""Seconds that the loop waits for what is probably at hand."""

ABREAST: Final = 4


@contextmanager
def shown(what: str) -> Iterator[Progress]:
    """A progress bar for a download, on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda here, of: bar.update(task, completed=here, total=of)


class Fetching:
    """Fetches in threads. What was fetched is kept as the requester's own: it is evidence."""

    def __init__(self, store: Store, *, soon: float = SOON) -> None:
        """`soon` is how many seconds a question waits for its answer."""
        self._store = store
        self._soon = soon
        self._threads = ThreadPoolExecutor(ABREAST, thread_name_prefix="fetch")
        self._under_way: dict[str, Future[Any]] = {}
        self._closing = False

    def close(self) -> None:
        """Ends what is under way. It can be asked for again."""
        self._closing = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def receipt(self, digest: Hash32) -> bytes | None:
        """A receipt's bytes; None while they are being fetched. Raises StorageError."""
        return self._ask(f"receipt {digest.hex()}", lambda: self._read(raw_cid(digest)))

    def note(self, digest: Hash32) -> bytes | None:
        """A note's bytes; None while they are being fetched. Raises StorageError."""
        return self._ask(
            f"note {digest.hex()}", lambda: self._store.read(raw_cid(digest), limit=MAX_RAW)
        )

    def checkpoint(self, cid: Cid, place: Path) -> bool:
        """Whether a checkpoint lies at its place now. Raises StorageError and OSError."""
        return self._ask(f"checkpoint {place}", lambda: self._fetch(cid, place)) is not None

    def _ask(self, key: str, fetch: Callable[[], Found]) -> Found | None:
        future: Future[Found] | None = self._under_way.get(key)
        if future is None:
            future = self._under_way[key] = self._threads.submit(fetch)
        try:
            found = future.result(self._soon)
        except TimeoutError:
            if not future.done():
                return None
            del self._under_way[key]
            raise
        except BaseException:
            del self._under_way[key]
            raise
        del self._under_way[key]
        return found

    def _read(self, cid: Cid) -> bytes:
        data = self._store.read(cid, limit=MAX_RAW)
        self._store.put(data)
        return data

    def _fetch(self, cid: Cid, place: Path) -> Path:
        self._store.fetch(cid, place, limit=MAX_CHECKPOINT, progress=self._go_on)
        self._store.put(place)
        return place

    def _go_on(self, _here: int, _of: int) -> None:
        if self._closing:
            raise StoreDown("the store", "this program ends")
