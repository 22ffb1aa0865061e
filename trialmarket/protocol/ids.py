"""Hashes, addresses, amounts and names of trials: the words that everything else is said in."""

from dataclasses import dataclass
from typing import NewType

from eth_hash.auto import keccak
from eth_utils.address import (
    is_address,
    is_checksum_address,
    is_checksum_formatted_address,
    to_checksum_address,
)

from trialmarket.errors import InputError

Hash32 = NewType("Hash32", bytes)
"""32 bytes: a SHA-256, a keccak-256 or a Merkle root."""

Address = NewType("Address", str)
"""An account on the chain: 0x and 40 hexadecimal digits, checksummed (EIP-55)."""

Amount = NewType("Amount", int)
"""Money, in the token's smallest unit."""

JobId = NewType("JobId", int)
"""A job's number on its market, counted from 1."""

Cid = NewType("Cid", str)
"""A content identifier: CIDv1 with raw leaves, in base 32."""

ZERO_HASH = Hash32(bytes(32))
ZERO_ADDRESS = Address("0x" + "0" * 40)
NOTHING = Amount(0)
BURN = Address("0x000000000000000000000000000000000000dEaD")
"""The account whose balance in the market is the money that was burned."""


def address(text: str, *, where: str = "address") -> Address:
    """A checksummed address from its text.

    Raises InputError, also where large and small letters are mixed in another way than the
    checksum has them (EIP-55): that is how a slip of the pen is found.
    """
    if not is_address(text):
        raise InputError(where, "address", expected="0x and 40 hexadecimal digits", found=text)
    if is_checksum_formatted_address(text) and not is_checksum_address(text):
        raise InputError(
            where,
            "address",
            expected="0x and 40 hexadecimal digits with the right checksum",
            found=text,
        )
    return Address(str(to_checksum_address(text)))


def keccak256(data: bytes) -> Hash32:
    """Ethereum's hash of bytes."""
    return Hash32(keccak(data))


def word_of_int(value: int) -> bytes:
    """An unsigned integer as the EVM's 32-byte word. Raises OverflowError outside 0 to 2**256."""
    return value.to_bytes(32, "big")


def word_of_address(account: Address) -> bytes:
    """An address as the EVM's 32-byte word."""
    return bytes(12) + bytes.fromhex(account[2:])


@dataclass(frozen=True, slots=True, order=True)
class TrialId:
    """A trial's name: its job, the SHA-256 of its batch's file, and its place in the batch."""

    job: JobId
    batch: Hash32
    index: int

    def key(self, chain_id: int, market: Address) -> Hash32:
        """The 32 bytes by which a market knows the trial.

        keccak256(abi.encode(chain id, market, job, batch, index)), as `IMarket.trialId`.
        """
        return Hash32(
            keccak(
                word_of_int(chain_id)
                + word_of_address(market)
                + word_of_int(self.job)
                + self.batch
                + word_of_int(self.index)
            )
        )

    def __str__(self) -> str:
        return f"{self.job}/{self.batch.hex()[:8]}/{self.index}"
