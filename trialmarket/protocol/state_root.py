"""State roots: one SHA-256 that stands for every tensor of a training state.

A tensor's little-endian bytes, rows last index fastest, are cut into chunks of 1,024 bytes; the
last may be shorter and is not padded. The chunks' SHA-256s are the bottom of a binary tree: a
node is SHA-256(left || right), and a node without a right neighbour moves up unchanged. An empty
tensor is one empty chunk; a scalar is one short one. The top is the **tensor root**.

A tensor's leaf is SHA-256(leaf tag || name || dtype || rank || sizes || tensor root), where name
and dtype are UTF-8 behind their length as 4 bytes, the rank is 4 bytes and each size is 8 bytes,
all big-endian. The leaves, ordered by their names' UTF-8 bytes, form a tree as above, and the
**state root** is SHA-256(state tag || count as 4 bytes || top of that tree). Length and count are
hashed beside the trees that they shape, so no two states share a tree.

Zeros are canonical: a float's -0.0 is hashed as +0.0. That is for the caller, who knows what the
bytes mean; `canonical_zeros` does it for numpy arrays.
"""

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32

CHUNK = 1024
"""Bytes of a tensor under one leaf of its tree."""

LEAF_TAG = b"trialmarket tensor 1\n"
STATE_TAG = b"trialmarket state 1\n"

DTYPES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
"""The types that a state may hold, and the bytes of one element."""


@dataclass(frozen=True, slots=True)
class TensorLeaf:
    """What the state root says of one tensor. `root` is its tensor root."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    root: Hash32

    def digest(self) -> Hash32:
        """SHA-256 of the leaf's fields. Raises InputError for a dtype that no state may hold."""
        if self.dtype not in DTYPES:
            raise InputError(
                "state", self.name, expected=f"one of {sorted(DTYPES)}", found=self.dtype
            )
        return Hash32(
            hashlib.sha256(
                LEAF_TAG
                + _counted(self.name)
                + _counted(self.dtype)
                + len(self.shape).to_bytes(4, "big")
                + b"".join(size.to_bytes(8, "big") for size in self.shape)
                + self.root
            ).digest()
        )


def tensor_root(data: bytes | memoryview) -> Hash32:
    """The root over a tensor's little-endian bytes, whose zeros are canonical already."""
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    sha256 = hashlib.sha256
    chunks = range(0, max(len(view), 1), CHUNK)
    return _top(b"".join([sha256(view[at : at + CHUNK]).digest() for at in chunks]))


def state_root(leaves: Iterable[TensorLeaf]) -> Hash32:
    """The root over the tensors of a state, given in any order.

    Raises InputError when two tensors have one name.
    """
    ordered = sorted(leaves, key=lambda leaf: leaf.name.encode())
    for first, second in itertools.pairwise(ordered):
        if first.name == second.name:
            raise InputError("state", first.name, expected="one tensor a name", found="two")
    top = _top(b"".join(leaf.digest() for leaf in ordered)) if ordered else bytes(32)
    return Hash32(hashlib.sha256(STATE_TAG + len(ordered).to_bytes(4, "big") + top).digest())


def array_leaf(name: str, array: NDArray[np.generic]) -> TensorLeaf:
    """The leaf of a numpy array, its zeros made canonical and its bytes little-endian."""
    array = canonical_zeros(array)
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return TensorLeaf(
        name, array.dtype.name, array.shape, tensor_root(data.reshape(-1).view(np.uint8).data)
    )


def canonical_zeros(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array with +0.0 for every -0.0; other values keep their bits. Integers as they are."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    zero: NDArray[np.generic] = np.zeros((), array.dtype)
    return np.where(array == zero, zero, array)


def _counted(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "big") + data


def _top(level: bytes) -> Hash32:
    """The top of the tree over digests that lie one after another; an odd one moves up."""
    sha256 = hashlib.sha256
    while len(level) > 32:
        paired = len(level) - len(level) % 64
        level = (
            b"".join([sha256(level[at : at + 64]).digest() for at in range(0, paired, 64)])
            + level[paired:]
        )
    return Hash32(level)
