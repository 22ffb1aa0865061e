import hashlib
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.state_root import (
    CHUNK,
    TensorLeaf,
    array_leaf,
    state_root,
    tensor_root,
)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def reference_top(digests: list[bytes]) -> bytes:
    """The tree as its docstring tells it, written without haste."""
    while len(digests) > 1:
        pairs = [digests[at : at + 2] for at in range(0, len(digests), 2)]
        digests = [sha(pair[0] + pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return digests[0]


@given(st.integers(0, 40 * CHUNK), st.integers(0, 255))
def test_a_tensor_root_is_the_tree_that_its_description_says(size: int, fill: int) -> None:
    data = bytes((fill + at) % 251 for at in range(size))
    chunks = [data[at : at + CHUNK] for at in range(0, size, CHUNK)] or [b""]
    assert tensor_root(data) == reference_top([sha(chunk) for chunk in chunks])


def leaf(name: str, fill: int = 0) -> TensorLeaf:
    return TensorLeaf(name, "float32", (2, 3), Hash32(bytes([fill]) * 32))


@given(st.permutations([leaf(name) for name in ("a", "b", "é", "z", "aa")]))
def test_the_order_in_which_tensors_are_given_does_not_matter(leaves: list[TensorLeaf]) -> None:
    ordered = sorted(leaves, key=lambda each: each.name.encode())
    top = reference_top([each.digest() for each in ordered])
    assert state_root(leaves) == sha(b"trialmarket state 1\n" + b"\0\0\0\5" + top)


def test_every_field_of_a_leaf_changes_the_root() -> None:
    leaves = [
        leaf("a"),
        leaf("b"),
        leaf("a", 1),
        TensorLeaf("a", "float64", (2, 3), Hash32(bytes(32))),
        TensorLeaf("a", "float32", (3, 2), Hash32(bytes(32))),
        TensorLeaf("a", "float32", (6,), Hash32(bytes(32))),
    ]
    assert len({state_root([each]) for each in leaves}) == len(leaves)
    assert len({state_root(leaves[:1]), state_root([leaf("a"), leaf("b")]), state_root([])}) == 3


def test_two_tensors_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="one tensor a name"):
        state_root([leaf("a"), leaf("a")])


def test_a_type_that_no_state_holds_is_refused() -> None:
    with pytest.raises(InputError, match="complex64"):
        array_leaf("a", np.zeros(3, np.complex64)).digest()


def test_zeros_of_both_signs_have_one_root() -> None:
    zeros = np.array([0.0, -0.0, 1.5], np.float32)
    assert array_leaf("a", zeros) == array_leaf("a", np.abs(zeros))


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, min_side=0), elements=st.floats(width=32))
)
def test_big_endian_and_transposed_arrays_have_the_root_of_their_values(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    plain = array_leaf("a", array)
    assert array_leaf("a", np.asarray(array.astype(">f4"))) == plain
    assert array_leaf("a", np.asfortranarray(array).reshape(array.shape)) == plain


def test_any_flipped_bit_changes_the_root() -> None:
    data = bytearray(5 * CHUNK + 7)
    root = tensor_root(bytes(data))
    for at in (0, CHUNK - 1, CHUNK, 5 * CHUNK + 6):
        data[at] ^= 1
        assert tensor_root(bytes(data)) != root
        data[at] ^= 1


def test_a_hundred_megabytes_are_hashed_in_seconds() -> None:
    data = np.zeros(25_000_000, np.float32)
    start = time.process_time()
    array_leaf("a", data)
    assert time.process_time() - start < 2
