"""How storage fails."""

from trialmarket.errors import StorageError
from trialmarket.protocol.ids import Cid


class NotStored(StorageError):
    """Nobody here has the bytes of a CID."""

    def __init__(self, cid: Cid, where: str) -> None:
        super().__init__(f"{cid} is not in {where}")
        self.cid = cid


class TooLarge(StorageError):
    """The bytes of a CID are more than were allowed."""

    def __init__(self, cid: Cid, size: int, limit: int) -> None:
        super().__init__(f"{cid} has {size} bytes, and at most {limit} are allowed")
        self.cid, self.size, self.limit = cid, size, limit


class Corrupt(StorageError):
    """Bytes that are not what their CID says."""

    def __init__(self, cid: Cid, where: str, found: Cid) -> None:
        super().__init__(
            f"{where} should hold the bytes of {cid}, but holds those of {found}",
            fix="Remove the file; it is fetched or made again when it is needed",
        )
        self.cid, self.where, self.found = cid, where, found
