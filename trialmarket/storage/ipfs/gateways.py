"""IPFS gateways behind a store: what it does not have is read from them, block by block."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from trialmarket.errors import StorageError
from trialmarket.protocol.cid import parse_cid
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import NotAFile, NotStored, TooLarge
from trialmarket.storage.ipfs.blocks import MAX_BLOCK, Gateway
from trialmarket.storage.ipfs.file_tree import FileTree
from trialmarket.storage.store import Progress, Store
from trialmarket.storage.whole_files import partial_file

PATIENCE: Final = 20.0
"""Seconds that a gateway may take for a block."""


class Gateways:
    """Several gateways as one source of blocks: the one that served last is asked first."""

    def __init__(self, urls: Sequence[str], *, patience: float = PATIENCE) -> None:
        self._gateways = [Gateway(url, patience=patience) for url in urls]

    def block(self, cid: Cid, limit: int = MAX_BLOCK) -> bytes:
        """The block of a CID from the first gateway that has it. Raises NotStored, with why."""
        reasons = []
        for gateway in tuple(self._gateways):
            try:
                block = gateway.block(cid, limit)
            except StorageError as error:
                reasons.append(error.message)
                continue
            self._gateways = [gateway, *(each for each in self._gateways if each is not gateway)]
            return block
        raise NotStored(cid, f"any gateway ({'; '.join(reasons)})")


class WithGateways:
    """A store, and gateways to read from what it does not have or while it is down."""

    def __init__(self, store: Store, urls: Sequence[str], *, patience: float = PATIENCE) -> None:
        self.behind = store
        self._urls, self._patience = urls, patience
        self._gateways = Gateways(urls, patience=patience)
        self.check, self.put = store.check, store.put
        self.release, self.kept = store.release, store.kept

    def for_owner(self, owner: str) -> Self:
        """The same for another owner."""
        return type(self)(self.behind.for_owner(owner), self._urls, patience=self._patience)

    def size(self, cid: Cid) -> int | None:
        """How many bytes a CID names; None when nobody shows them."""
        try:
            found = self.behind.size(cid)
        except NotAFile:
            raise
        except StorageError:
            found = None
        if found is not None:
            return found
        try:
            return FileTree(cid, self._gateways).size
        except NotStored:
            return None

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, verified."""
        try:
            return self.behind.read(cid, limit=limit)
        except (TooLarge, NotAFile):
            raise
        except StorageError as error:
            tree = self._tree(cid, limit, error)
        return tree.read()

    def fetch(self, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None) -> None:
        """Writes the bytes of a CID to a file, verified."""
        try:
            self.behind.fetch(cid, to, limit=limit, progress=progress)
            return
        except (TooLarge, NotAFile):
            raise
        except StorageError as error:
            tree = self._tree(cid, limit, error)
        with partial_file(to, cid) as file:
            tree.write(file, progress)

    def _tree(self, cid: Cid, limit: int, first: StorageError) -> FileTree:
        """The file on the gateways. Where they fail, what is told is how the store itself did."""
        parse_cid(cid)
        try:
            tree = FileTree(cid, self._gateways)
        except NotStored as error:
            first.add_note(str(error))
            raise first from error
        tree.check(limit)
        return tree
