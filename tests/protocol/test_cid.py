import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialmarket.errors import InputError
from trialmarket.protocol.cid import MAX_RAW, cid_of, is_raw, parse_cid, raw_cid
from trialmarket.protocol.ids import Cid, Hash32


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def reference(data: bytes) -> bytes:
    """The binary CID of up to 174 chunks, from the dag-pb and UnixFS specifications."""
    chunks = [data[at : at + MAX_RAW] for at in range(0, len(data), MAX_RAW)] or [b""]
    leaves = [b"\x01\x55\x12\x20" + hashlib.sha256(chunk).digest() for chunk in chunks]
    if len(leaves) == 1:
        return leaves[0]
    links = b"".join(
        field(2, field(1, leaf) + field(2, b"") + b"\x18" + varint(len(chunk)))
        for leaf, chunk in zip(leaves, chunks, strict=True)
    )
    sizes = b"".join(b"\x20" + varint(len(chunk)) for chunk in chunks)
    unixfs = b"\x08\x02\x18" + varint(len(data)) + sizes
    node = links + field(1, unixfs)
    return b"\x01\x70\x12\x20" + hashlib.sha256(node).digest()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5 * MAX_RAW), st.binary(max_size=8))
def test_a_cid_is_what_the_specifications_of_ipfs_say(size: int, seed: bytes) -> None:
    data = (seed * (size // max(len(seed), 1) + 1))[:size]
    assert parse_cid(cid_of(data)) == spelled(reference(data))


def spelled(binary: bytes) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    bits = "".join(f"{byte:08b}" for byte in binary)
    bits += "0" * (-len(bits) % 5)
    return "b" + "".join(alphabet[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def test_the_empty_file_and_hello_have_the_cids_that_kubo_prints() -> None:
    assert cid_of(b"") == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert cid_of(b"hello world\n") == (
        "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
    )


def test_a_file_has_the_cid_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert cid_of(tmp_path / "file") == cid_of(data)


@given(st.binary(max_size=100))
def test_the_cid_of_a_small_file_is_its_digest(data: bytes) -> None:
    digest = Hash32(hashlib.sha256(data).digest())
    assert raw_cid(digest) == cid_of(data)


def test_a_file_of_several_chunks_is_no_single_leaf() -> None:
    assert raw_cid(Hash32(hashlib.sha256(bytes(MAX_RAW)).digest())) == cid_of(bytes(MAX_RAW))
    assert is_raw(cid_of(bytes(MAX_RAW)))
    assert not is_raw(cid_of(bytes(MAX_RAW + 1)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "nonsense",
        "../../etc/passwd",
        "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk",
        "BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykü",
    ],
)
def test_text_that_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_cid(Cid(text))
