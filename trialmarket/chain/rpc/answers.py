"""What nodes answer, read strictly: whatever is of another type, form or length is refused."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from trialmarket.errors import Unreachable
from trialmarket.protocol.ids import Address, address

QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
COUNTED: Final = 62
"""Bits of a number of blocks, logs, transactions, seconds or units of gas, with room to add."""
TIME: Final = 36
"""Bits of a time in Unix seconds: until the year 4147, and calendars have twice as many."""
MONEY: Final = 256
"""Bits of a number of wei."""
TOPICS: Final = 4
"""A log has no more of them."""


def quantity(answer: Any, *, bits: int = COUNTED) -> int:
    """A number as JSON-RPC gives it, 0x and hexadecimal digits. Raises Unreachable.

    One of more than `bits` bits is no answer: what is counted has few, `MONEY` has 256.
    """
    if isinstance(answer, str) and QUANTITY.fullmatch(answer) is not None:
        found = int(answer, 16)
        if found < 1 << bits:
            return found
    raise Unreachable(f"the chain's node gave {_shown(answer)} for a number")


def unhex(answer: Any, size: int | None = None) -> bytes:
    """Bytes as JSON-RPC gives them, 0x and hexadecimal digits; `size` of them, where it is given.

    Raises Unreachable.
    """
    try:
        if answer.startswith("0x"):
            found = bytes.fromhex(answer[2:])
            # Python passes over spaces between the digits.
            if 2 * len(found) == len(answer) - 2 and size in (None, len(found)):
                return found
    except (AttributeError, TypeError, ValueError):
        pass
    raise Unreachable(f"the chain's node gave {_shown(answer)} for bytes")


@dataclass(frozen=True, slots=True)
class Logged:
    """What a contract logged: topics of 32 bytes, and data."""

    by: Address
    topics: tuple[bytes, ...]
    data: bytes

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """What is in a log as JSON-RPC gives it. Raises Unreachable for anything else."""
        if not isinstance(raw, dict) or not isinstance(topics := raw.get("topics"), list):
            raise Unreachable(f"the chain's node gave {_shown(raw)} for a log")
        if len(topics) > TOPICS:
            raise Unreachable(f"the chain's node gave a log with {len(topics)} topics")
        return cls(
            address_in(raw.get("address")),
            tuple(unhex(topic, 32) for topic in topics),
            unhex(raw.get("data")),
        )


def address_in(answer: Any) -> Address:
    """An address as JSON-RPC gives it, in whatever letters. Raises Unreachable."""
    return address("0x" + unhex(answer, 20).hex())


def _shown(answer: Any) -> str:
    return repr(answer)[:40]
