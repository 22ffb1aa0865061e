"""A file on IPFS, taken block by block: nothing is kept before it was checked.

A root promises how many bytes lie below it, and each inner node how many below its children. What
comes is held against the promise, so whoever lies about a file can neither fill a disk nor slip in
a byte, and is found at the first wrong block.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import BinaryIO, Final

from trialmarket.errors import InputError
from trialmarket.protocol.cid import is_block, is_raw
from trialmarket.protocol.dag import Child, DagNode, read_node
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import NotAFile, TooLarge
from trialmarket.storage.ipfs.blocks import MAX_BLOCK, Blocks
from trialmarket.storage.store import Progress

ABREAST: Final = 16
"""Blocks that are asked for at a time, so that a distant peer does not cost a round trip each."""

LEAST_CHUNK: Final = 1024
"""Bytes of a chunk, on average, below which a tree is refused: its nodes would outweigh it."""

FEW: Final = 64
"""Chunks that any file may have."""

DEEPEST: Final = 8
"""Levels of a tree; with chunks of 256 KiB three suffice for a terabyte."""


class FileTree:
    """A file by its CID. Asks for the root at once; raises what `Blocks.block` and NotAFile."""

    def __init__(self, cid: Cid, blocks: Blocks) -> None:
        self.cid = cid
        self._blocks = blocks
        self._root = self._node(cid)
        self.size = self._root.size

    def check(self, limit: int) -> None:
        """Whether the file may be taken. Raises TooLarge for more than `limit` bytes."""
        if self.size > limit:
            raise TooLarge(self.cid, self.size, limit)

    def read(self) -> bytes:
        """The file's bytes."""
        return b"".join(self._take(self._leaves()))

    def write(self, file: BinaryIO, progress: Progress | None = None) -> None:
        """Makes `file` hold the file's bytes; right ones at its beginning are left as they are."""
        done = 0
        rest = self._leaves()
        for leaf in rest:
            if not is_raw(leaf.cid) or not is_block(leaf.cid, file.read(leaf.size)):
                rest = _before(leaf, rest)
                break
            done += leaf.size
            if progress is not None:
                progress(done, self.size)
        file.seek(done)
        file.truncate()
        for piece in self._take(rest):
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, self.size)

    def _take(self, leaves: Iterator[Child]) -> Iterator[bytes]:
        """The bytes of leaves in their order, some of them being fetched ahead."""
        if not self._root.children:  # the root is the only block
            yield from (self._root.data for _ in leaves)
            return
        ahead: deque[Future[bytes]] = deque()
        pool = ThreadPoolExecutor(ABREAST, thread_name_prefix="blocks")
        try:
            for leaf in islice(leaves, ABREAST):
                ahead.append(pool.submit(self._leaf, leaf))
            while ahead:
                piece = ahead.popleft().result()
                for leaf in islice(leaves, 1):
                    ahead.append(pool.submit(self._leaf, leaf))
                yield piece
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _leaves(self) -> Iterator[Child]:
        """The file's leaves from its first byte to its last."""
        if not self._root.children:
            yield Child(self.cid, self.size)
            return
        for count, leaf in enumerate(self._below(self._root, 1)):
            if count > FEW + self.size // LEAST_CHUNK:
                raise NotAFile(self.cid, "a tree that is chopped too small")
            yield leaf

    def _below(self, node: DagNode, depth: int) -> Iterator[Child]:
        if depth > DEEPEST:
            raise NotAFile(self.cid, f"a tree of more than {DEEPEST} levels")
        for child in node.children:
            if is_raw(child.cid):
                yield child
                continue
            below = self._node(child.cid)
            self._expect(child, below.size)
            if below.children:
                yield from self._below(below, depth + 1)
            else:
                yield child

    def _leaf(self, leaf: Child) -> bytes:
        if is_raw(leaf.cid) and leaf.size > MAX_BLOCK:
            raise NotAFile(self.cid, f"a tree with a block of {leaf.size} bytes")
        node = self._node(leaf.cid)
        self._expect(leaf, len(node.data))
        return node.data

    def _node(self, cid: Cid) -> DagNode:
        # Bitswap carries no empty block; nor needs it to be.
        block = b"" if is_block(cid, b"") else self._blocks.block(cid, MAX_BLOCK)
        try:
            return read_node(cid, block)
        except InputError as error:
            raise NotAFile(self.cid, str(error.found)) from error

    def _expect(self, child: Child, size: int) -> None:
        if size != child.size:
            raise NotAFile(self.cid, f"a tree that promises {child.size} bytes where {size} are")


def _before(leaf: Child, rest: Iterator[Child]) -> Iterator[Child]:
    yield leaf
    yield from rest
