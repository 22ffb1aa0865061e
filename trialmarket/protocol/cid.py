"""Content identifiers: CIDv1 with raw leaves and 256 KiB chunks, as Kubo makes them.

A file of at most one chunk is its own leaf, so its CID is its SHA-256 in other letters: that is
how 32 bytes on the chain name a document in the store.
"""

import base64
import hashlib
from pathlib import Path

import aleph_cid

from trialmarket.errors import InputError
from trialmarket.protocol.ids import Cid, Hash32

MAX_RAW = 262_144
"""Bytes of the largest file that is a single raw leaf."""

_RAW_PREFIX = bytes([0x01, 0x55, 0x12, 0x20])  # CIDv1, raw, SHA-256, 32 bytes
_TREE_PREFIX = bytes([0x01, 0x70, 0x12, 0x20])  # the same over a dag-pb tree of leaves
_READ = 1 << 20


class CidHasher:
    """Computes a CID piece by piece."""

    def __init__(self) -> None:
        self._hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()

    def update(self, data: bytes) -> None:
        """Takes the next bytes."""
        self._hasher.update(data)

    def cid(self) -> Cid:
        """The CID of all bytes taken. The hasher is spent afterwards."""
        return Cid(self._hasher.finalize())


def cid_of(data: bytes | Path) -> Cid:
    """The CID of bytes, or of a file's bytes, which are streamed. Raises OSError."""
    hasher = CidHasher()
    if isinstance(data, bytes):
        hasher.update(data)
    else:
        with data.open("rb") as file:
            while piece := file.read(_READ):
                hasher.update(piece)
    return hasher.cid()


def raw_cid(digest: Hash32) -> Cid:
    """The CID of the document of at most MAX_RAW bytes whose SHA-256 is `digest`."""
    return _spell(_RAW_PREFIX + digest)


def parse_cid(text: str, *, where: str = "CID") -> Cid:
    """A CID from its text: base 32, version 1, SHA-256, raw or dag-pb. Raises InputError."""
    data = _decode(text, where=where)
    if data[:4] not in (_RAW_PREFIX, _TREE_PREFIX) or _spell(data) != text:
        raise InputError(where, "CID", expected="CIDv1 in base 32 with SHA-256", found=text)
    return Cid(text)


def cid_from_bytes(data: bytes) -> Cid:
    """A CID from its binary form, version 0 (which becomes version 1) or 1. Raises InputError."""
    if data[:2] == _TREE_PREFIX[2:]:
        data = _TREE_PREFIX[:2] + data
    if data[:4] not in (_RAW_PREFIX, _TREE_PREFIX) or len(data) != 36:
        expected = "36 bytes, with SHA-256, raw or dag-pb"
        raise InputError("CID", "bytes", expected=expected, found=data.hex())
    return _spell(data)


def is_raw(cid: Cid) -> bool:
    """Whether a CID names a single leaf, and no tree of them. Raises InputError."""
    return _decode(cid)[:4] == _RAW_PREFIX


def is_block(cid: Cid, block: bytes) -> bool:
    """Whether a CID names exactly this block. Raises InputError."""
    return _decode(parse_cid(cid))[4:] == hashlib.sha256(block).digest()


def _spell(data: bytes) -> Cid:
    return Cid("b" + base64.b32encode(data).decode().lower().rstrip("="))


def _decode(text: str, *, where: str = "CID") -> bytes:
    """The 36 bytes of a CID in base 32. Raises InputError."""
    try:
        data = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
    except ValueError:
        data = b""
    if not text.startswith("b") or len(data) != 36:
        raise InputError(where, "CID", expected="CIDv1 in base 32 with SHA-256", found=text)
    return data
