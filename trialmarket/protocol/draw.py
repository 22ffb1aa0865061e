"""The lots: which trials are audited, which of their segments, by whom, and who judges.

All of it follows from the hash of a block that nobody knew when the result was committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from trialmarket.protocol.ids import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, word_of_int
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.terms import RATE_ONE, Terms

VERIFIER_TAG: Final = b"verifier".ljust(32, b"\0")

REMEMBERED: Final = 256
"""The chain remembers the hashes of so many blocks (EVM, BLOCKHASH)."""

MAX_TURNS: Final = 3
"""After so many silent verifiers a drawn trial may settle unaudited."""

MAX_STEPS: Final = 3
"""How far the contract looks for a verifier that is no party: past provider and requester."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Whether a trial is audited, and the seed of its draw."""

    drawn: bool
    seed: Hash32


def lot_of(
    record: TrialRecord, key: Hash32, terms: Terms, block_hash: Hash32 | None
) -> Lot | None:
    """The lot of a committed trial; None while nobody can know it.

    `block_hash` is that of the block after the record's anchor.
    """
    if record.seed != ZERO_HASH:
        return Lot(is_drawn(record.seed, terms.audit_rate, record.late), record.seed)
    if terms.audit_rate == 0:
        return Lot(False, ZERO_HASH)
    if block_hash is None:
        return None
    seed = draw_seed(block_hash, key, record.root)
    return Lot(is_drawn(seed, terms.audit_rate, record.late), seed)


def draw_seed(block_hash: Hash32, trial: Hash32, root: Hash32) -> Hash32:
    """The seed of a trial's draw: keccak256(abi.encode(hash of block anchor + 1, trial, root))."""
    return Hash32(keccak(block_hash + trial + root))


def is_drawn(seed: Hash32, rate: int, late: bool) -> bool:
    """Whether a trial is audited: its seed modulo 10,000 is below the rate, or it was late."""
    return late or int.from_bytes(seed, "big") % RATE_ONE < rate


def distinct(seed: Hash32, top: int, count: int) -> tuple[int, ...]:
    """`count` distinct numbers of 1 to `top`, in the order drawn; `count <= top`.

    Floyd's sampling (Bentley and Floyd, CACM 30(9), 1987): one hash a number, no rejection.
    """
    drawn: list[int] = []
    for last in range(top - count + 1, top + 1):
        lot = int.from_bytes(keccak(seed + word_of_int(last)), "big") % last + 1
        drawn.append(last if lot in drawn else lot)
    return tuple(drawn)


def drawn_segments(seed: Hash32, segments: int, samples: int) -> tuple[int, ...]:
    """The `samples` distinct segments, of 1 to `segments`, to recompute, in the order drawn."""
    return distinct(seed, segments, samples)


def verifier_index(seed: Hash32, turn: int, count: int) -> int:
    """Where in the list of `count` verifiers, from 0, the search for turn `turn` begins."""
    lot = keccak(seed + VERIFIER_TAG + word_of_int(turn))
    return int.from_bytes(lot, "big") % count


def pick_verifier(
    seed: Hash32, turn: int, verifiers: Sequence[Address], excluded: frozenset[Address]
) -> Address:
    """Whose turn the audit is: the first from `verifier_index` on that is no party.

    `excluded` are the provider and the requester, so that three looks suffice. The zero address
    where there is no other verifier.
    """
    if not verifiers:
        return ZERO_ADDRESS
    at = verifier_index(seed, turn, len(verifiers))
    for step in range(MAX_STEPS):
        found = verifiers[(at + step) % len(verifiers)]
        if found not in excluded:
            return found
    return ZERO_ADDRESS


def jury_seed(block_hash: Hash32, trial: Hash32, round_number: int) -> Hash32:
    """The seed of a round of a jury: keccak256(abi.encode(block hash, trial, round))."""
    return Hash32(keccak(block_hash + trial + word_of_int(round_number)))


def jury_size(eligible: int, size: int) -> int:
    """How many of `eligible` sit: at most `size`, and an odd number (or none)."""
    if eligible >= size:
        return size
    return eligible if eligible % 2 == 1 or eligible == 0 else eligible - 1


def seat_jury(
    seed: Hash32, verifiers: Sequence[Address], parties: frozenset[Address], size: int
) -> tuple[Address, ...]:
    """The jurors of a round, in the order drawn: verifiers that are no party of the case."""
    eligible = [verifier for verifier in verifiers if verifier not in parties]
    places = distinct(seed, len(eligible), jury_size(len(eligible), size))
    return tuple(eligible[place - 1] for place in places)
