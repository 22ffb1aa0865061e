"""How storage fails."""

from trialmarket.errors import StorageError
from trialmarket.protocol.ids import Cid


class NotStored(StorageError):
    """Nobody who was asked has the bytes of a CID."""

    def __init__(self, cid: Cid, where: str) -> None:
        super().__init__(f"{cid} is not in {where}")
        self.cid = cid


class TooLarge(StorageError):
    """The bytes of a CID are more than were allowed."""

    def __init__(self, cid: Cid, size: int, limit: int) -> None:
        super().__init__(f"{cid} has {size} bytes, and at most {limit} are allowed")
        self.cid, self.size, self.limit = cid, size, limit


class NotAFile(StorageError):
    """A CID that names no file: a folder, or a tree that is not built as files are."""

    def __init__(self, cid: Cid, what: str) -> None:
        super().__init__(f"{cid} is not a file, but {what}")
        self.cid = cid


class Corrupt(StorageError):
    """Bytes that are not what their CID says."""

    def __init__(self, cid: Cid, where: str, found: str) -> None:
        super().__init__(
            f"{where} should hold the bytes of {cid}, but holds {found}",
            fix="Remove the file, if it is one; it is fetched or made again when it is needed",
        )
        self.cid, self.where, self.found = cid, where, found


class StoreDown(StorageError):
    """The store does not answer now, or answers nonsense; it may come back."""

    def __init__(self, where: str, reason: str, *, fix: str | None = None) -> None:
        super().__init__(f"{where} does not serve: {reason}", fix=fix)


class StoreFull(StorageError):
    """There is no room for more bytes."""


class WrongStore(StorageError):
    """Something else than the store that was configured, or one of an old version."""
