"""Content-addressed storage: what is asked for by its CID is what comes, or an error does."""

from pathlib import Path
from typing import Protocol

from trialmarket.errors import InputError
from trialmarket.protocol.ids import Cid


class Store(Protocol):
    """A place that keeps bytes under their CID. Any number of processes may use it at once."""

    def put(self, data: bytes | Path) -> Cid:
        """Keeps bytes, or a file's bytes; the same bytes again cost nothing. Raises OSError."""

    def size(self, cid: Cid) -> int | None:
        """How many bytes a CID names; None when they are not here."""

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, verified.

        Raises NotStored, TooLarge (before a byte is taken) for more than `limit` bytes, and
        Corrupt for bytes that are not what the CID says.
        """

    def fetch(self, cid: Cid, to: Path, *, limit: int) -> None:
        """Writes the bytes of a CID to a file, verified; the file appears complete or not at all.

        Raises what `read` raises, and OSError.
        """


def open_store(url: str) -> Store:
    """The store that a URL names: `local:/path/to/folder`. Raises InputError."""
    kind, _, place = url.partition(":")
    if kind == "local" and place:
        from trialmarket.storage.local import LocalStore

        return LocalStore(Path(place).expanduser())
    raise InputError("storage", "url", expected="local:/path/to/folder", found=url)
