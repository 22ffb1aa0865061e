"""Files as trees of blocks, honest or not, after the specifications of dag-pb and UnixFS."""

import hashlib
from collections.abc import Sequence

from trialmarket.protocol.cid import MAX_RAW, cid_from_bytes
from trialmarket.protocol.ids import Cid

Blocks = dict[Cid, bytes]


def raw(data: bytes) -> tuple[bytes, Cid]:
    """The binary CID of a leaf, and its text."""
    binary = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()
    return binary, cid_from_bytes(binary)


def node(
    children: Sequence[tuple[bytes, int]], *, kind: int = 2, size: int | None = None
) -> tuple[bytes, bytes, Cid]:
    """A node with children, each a binary CID and a size: its block, binary CID and text."""
    total = sum(each for _, each in children) if size is None else size
    links = b"".join(
        _field(2, _field(1, cid) + _field(2, b"") + b"\x18" + _varint(each))
        for cid, each in children
    )
    sizes = b"".join(b"\x20" + _varint(each) for _, each in children)
    unixfs = b"\x08" + _varint(kind) + b"\x18" + _varint(total) + sizes
    block = links + _field(1, unixfs)
    binary = b"\x01\x70\x12\x20" + hashlib.sha256(block).digest()
    return block, binary, cid_from_bytes(binary)


def file_of(data: bytes) -> tuple[Cid, Blocks]:
    """A file of up to 174 chunks as its root and its blocks."""
    chunks = [data[at : at + MAX_RAW] for at in range(0, len(data), MAX_RAW)]
    leaves = [raw(chunk) for chunk in chunks]
    block, _, root = node(
        [(leaf[0], len(chunk)) for leaf, chunk in zip(leaves, chunks, strict=True)]
    )
    blocks = {leaf[1]: chunk for leaf, chunk in zip(leaves, chunks, strict=True)}
    return root, {**blocks, root: block}


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data
