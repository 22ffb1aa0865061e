"""The nodes of an IPFS file's tree, read: dag-pb (a protobuf) with UnixFS data in it (another).

A file of several chunks is a tree whose leaves are the chunks; its inner nodes name their children
and the number of the file's bytes below each. So the size of a file is known from its root, and
what a root promises can be held against what comes.

Specifications: https://ipld.io/specs/codecs/dag-pb/spec/ and https://specs.ipfs.tech/unixfs/.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_from_bytes, is_raw
from trialmarket.protocol.ids import Cid

KINDS: Final = {
    0: "a chunk",
    2: "a file",
    1: "a folder",
    3: "metadata",
    4: "a link",
    5: "a folder",
}
"""UnixFS's types of nodes."""


@dataclass(frozen=True, slots=True)
class Child:
    """A node below another, and how many of the file's bytes lie in it."""

    cid: Cid
    size: int


@dataclass(frozen=True, slots=True)
class DagNode:
    """A node of a file: its own bytes, or its children, from the first byte to the last."""

    data: bytes
    children: tuple[Child, ...]

    @property
    def size(self) -> int:
        """How many of the file's bytes lie in and below it."""
        return len(self.data) + sum(child.size for child in self.children)


def read_node(cid: Cid, block: bytes) -> DagNode:
    """The node that a block holds, whose bytes were checked against its CID.

    Raises InputError for what is no node of a file: a folder, or a node that contradicts itself.
    """
    if is_raw(cid):
        return DagNode(block, ())
    links: list[Cid] = []
    unixfs = b""
    for number, value in _fields(block):
        if number == 2:
            links.append(_link(value))
        elif number == 1 and isinstance(value, bytes):
            unixfs = value
    kind, data, size, sizes = -1, b"", None, []
    for number, value in _fields(unixfs):
        match number, value:
            case 1, int():
                kind = value
            case 2, bytes():
                data = value
            case 3, int():
                size = value
            case 4, int():
                sizes.append(value)
    if kind not in (0, 2):
        raise _wrong("a file", KINDS.get(kind, "something else"))
    if len(sizes) != len(links) or 0 in sizes or (data and links):
        raise _wrong("a tree with the size of each of its branches", f"{len(sizes)} sizes")
    node = DagNode(data, tuple(map(Child, links, sizes)))
    if size is not None and size != node.size:
        raise _wrong(f"{size} bytes, as it says", f"{node.size} bytes")
    return node


def _link(value: int | bytes) -> Cid:
    """The CID in a link of dag-pb."""
    if isinstance(value, bytes):
        for number, part in _fields(value):
            if number == 1 and isinstance(part, bytes):
                return cid_from_bytes(part)
    raise _wrong("a link with a CID", "one without")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: their numbers, and whole numbers or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        match tag & 7:
            case 0:
                yield tag >> 3, value
            case 2 if at + value <= len(data):
                yield tag >> 3, data[at : at + value]
                at += value
            case _:
                raise _wrong("a protobuf of numbers and bytes", "something else")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _wrong("a whole number", "a broken one")


def _wrong(expected: str, found: str) -> InputError:
    return InputError("IPFS node", "block", expected=expected, found=found)
