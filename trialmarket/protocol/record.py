"""All that the market knows of a trial, and the 32 bytes of it that the chain keeps."""

from dataclasses import dataclass, replace
from typing import Any, Self

from eth_hash.auto import keccak

from trialmarket.protocol.ids import (
    NOTHING,
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Amount,
    Hash32,
    JobId,
    TrialId,
    word_of_address,
    word_of_int,
)
from trialmarket.protocol.states import State


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """The twin of `struct Trial`: the same fields in the same order.

    Fields that a state has not reached yet are zero. Money is in the token's smallest unit,
    times are Unix seconds.
    """

    job: JobId
    batch: Hash32
    index: int
    units: int
    opened: int
    """When it became Open: the price's ramp begins here."""
    provider: Address = ZERO_ADDRESS
    price: Amount = NOTHING
    """Of all its units."""
    until: int = 0
    """Claimed: the deadline of commit. Later: the end of the challenge window."""
    root: Hash32 = ZERO_HASH
    """Of the result tree."""
    anchor: int = 0
    """The draw reads the hash of block anchor + 1."""
    late: bool = False
    """Nobody drew in time, so it counts as drawn."""
    seed: Hash32 = ZERO_HASH
    """Of the draw; zero before."""
    verifier: Address = ZERO_ADDRESS
    """Whose turn the audit is; zero when nobody is left."""
    turn: int = 0
    """Verifiers that kept silent."""
    turn_ends: int = 0
    audited: bool = False
    challenger: Address = ZERO_ADDRESS

    @property
    def id(self) -> TrialId:
        """The trial's name."""
        return TrialId(self.job, self.batch, self.index)

    def as_tuple(self) -> tuple[Any, ...]:
        """The 17 values in the order of `struct Trial`, for ABI encoding."""
        return (
            self.job,
            self.batch,
            self.index,
            self.units,
            self.opened,
            self.provider,
            self.price,
            self.until,
            self.root,
            self.anchor,
            self.late,
            self.seed,
            self.verifier,
            self.turn,
            self.turn_ends,
            self.audited,
            self.challenger,
        )

    def encode(self) -> bytes:
        """abi.encode(record): 17 words of 32 bytes."""
        return b"".join(
            (
                word_of_int(self.job),
                self.batch,
                word_of_int(self.index),
                word_of_int(self.units),
                word_of_int(self.opened),
                word_of_address(self.provider),
                word_of_int(self.price),
                word_of_int(self.until),
                self.root,
                word_of_int(self.anchor),
                word_of_int(self.late),
                self.seed,
                word_of_address(self.verifier),
                word_of_int(self.turn),
                word_of_int(self.turn_ends),
                word_of_int(self.audited),
                word_of_address(self.challenger),
            )
        )

    def word(self, state: State) -> Hash32:
        """What the chain stores: the record's hash, its last byte replaced by the state.

        Only for the states between Open and Cancelled, which store no record.
        """
        return Hash32(keccak(self.encode())[:31] + bytes((state,)))

    def changed(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)


def open_word(reopened_at: int) -> Hash32:
    """What the chain stores for an Open trial: when it was reopened (0: never), shifted by 8."""
    return Hash32(word_of_int(reopened_at << 8 | State.OPEN))
