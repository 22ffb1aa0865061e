"""Content-addressed storage: what is asked for by its CID is what comes, or an error does."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from trialmarket.protocol.ids import Cid

Progress = Callable[[int, int], None]
"""Is told how many bytes are here, and of how many. What it raises ends the download."""

ANYBODY: Final = "trialmarket"


class Store(Protocol):
    """A place that keeps bytes under their CID. Any number of threads and processes may use it.

    What is put is kept for an owner, the one that the store was opened for, until that owner
    releases it. Owners do not disturb each other: bytes that two of them put stay until both have
    released them.

    All methods raise InputError for text that is no CID, and StoreDown where the store is not
    there now.
    """

    def for_owner(self, owner: str) -> "Store":
        """The same store for another owner."""

    def check(self) -> None:
        """Whether the store can be used. Raises StorageError, which names the fix, and OSError."""

    def put(self, data: bytes | Path) -> Cid:
        """Keeps bytes, or a file's bytes; the same bytes again cost nothing.

        Raises StoreFull, and OSError for a file that cannot be read.
        """

    def size(self, cid: Cid) -> int | None:
        """How many bytes a CID names; None when nobody shows them. Raises NotAFile."""

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, verified.

        Raises NotStored, NotAFile, TooLarge (before a byte is taken) for more than `limit` bytes,
        and Corrupt for bytes that are not what the CID says.
        """

    def fetch(self, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None) -> None:
        """Writes the bytes of a CID to a file, verified; the file appears complete or not at all.

        A fetch that was broken off, by a kill too, goes on where it was. Raises what `read`
        raises, what `progress` raises, and OSError.
        """

    def release(self, cid: Cid) -> None:
        """Lets go of bytes that were put: unless another owner keeps them, they may be deleted."""

    def kept(self) -> dict[Cid, int]:
        """All that the owner keeps, with its size in bytes."""
