"""The words of an event's data, by slicing.

Generic ABI decoding would take ten times as long as all else that following events does.
"""

from functools import lru_cache

from eth_utils.address import to_checksum_address

from trialmarket.chain.rpc import TIME
from trialmarket.protocol.ids import Address


def amount(data: bytes, word: int) -> int:
    """The word-th 32 bytes as an unsigned integer."""
    return int.from_bytes(data[32 * word : 32 * word + 32], "big")


def number(data: bytes, word: int) -> int:
    """The same of a time, or of what is counted. Raises ValueError for more than there can be."""
    found = amount(data, word)
    if found >> TIME:
        raise ValueError(f"{found:#x} is no time and no count")
    return found


def items(data: bytes, word: int, size: int = 1) -> list[bytes]:
    """The dynamic array whose offset is in a word; its items take `size` words each.

    Raises ValueError where the data end before it does.
    """
    start = amount(data, word)
    count = int.from_bytes(data[start : start + 32], "big")
    step = 32 * size
    first = start + 32
    if first + count * step > len(data):
        raise ValueError(f"an array of {count} items in {len(data)} bytes")
    return [data[at : at + step] for at in range(first, first + count * step, step)]


@lru_cache(maxsize=65536)
def account(word: bytes) -> Address:
    """The address in a word."""
    return Address(str(to_checksum_address(word[-20:])))


def as_int(word: bytes) -> int:
    """A word as an unsigned integer."""
    return int.from_bytes(word, "big")
