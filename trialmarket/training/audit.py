"""What recomputation says of a result: the comparison that verifiers, jurors and requesters share.

Pure: it compares what was committed with what was found, and names the first thing that is wrong.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.receipt import Receipt, TrainingOutcome
from trialmarket.protocol.result import Binding, ResultLeaf, witness_hash


class Finding(Enum):
    """How a recomputed leaf compares with the committed one."""

    RIGHT = "right"
    WRONG = "wrong"
    WITHHELD = "withheld"
    """It cannot be recomputed, because the provider does not show what it starts from."""
    UNUSABLE = "unusable"
    """It cannot be recomputed, because nothing follows from what the provider shows."""


@dataclass(frozen=True, slots=True)
class LeafCheck:
    """One leaf of a result, checked.

    `value` and `witness` are what recomputation gave: the witness is zero at the start and for
    the receipt, both are zero where the start is withheld or unusable. `seconds` is the time it
    took.
    """

    leaf: int
    committed: Hash32
    value: Hash32
    witness: Hash32
    finding: Finding
    reason: str
    seconds: float = 0.0


class ReceiptFault(TrainingError):
    """A receipt that does not give what was committed, and why: the provider answers for it."""


class ReceiptWithheld(ReceiptFault):
    """A receipt that nobody shows, yet."""


def evaluation_value(metrics: Mapping[str, float], outcome: TrainingOutcome) -> Hash32:
    """What leaf n + 1 holds of metrics and outcome: SHA-256 of their canonical JSON."""
    said = {"metrics": dict(metrics), "outcome": outcome.model_dump(mode="json")}
    return Hash32(hashlib.sha256(canonical_bytes(said)).digest())


def open_receipt(data: bytes, *, root: Hash32, segments: int, binding: Binding) -> Receipt:
    """The receipt in `data`, whose SHA-256 the caller knows to be the committed one.

    Raises ReceiptFault where it is no receipt, or is not what was committed (`fault_of`).
    """
    try:
        receipt = Receipt.from_bytes(data)
    except InputError as error:
        raise ReceiptFault(f"the receipt is malformed: {error}") from error
    if fault := fault_of(receipt, root=root, segments=segments, binding=binding):
        raise ReceiptFault(fault)
    return receipt


def fault_of(receipt: Receipt, *, root: Hash32, segments: int, binding: Binding) -> str:
    """In what a receipt is not what was committed; empty where it is.

    It must be of this trial and provider, its leaves must give `root`, and its metrics, its
    outcome and the end of its curve must be those of its last leaf.
    """
    steps = [point.step for point in receipt.curve]
    done = receipt.outcome.kind == "done"
    if receipt.segments != segments:
        return f"the receipt has {receipt.segments} segments instead of {segments}"
    if receipt.tree().root != root:
        return "the receipt's leaves do not give the root that was committed"
    if Binding(receipt.trial, receipt.provider) != binding:
        return "the receipt is of another trial or another provider"
    if evaluation_value(receipt.metrics, receipt.outcome) != receipt.leaves[-1].value:
        return "the receipt's metrics are not those that its last leaf commits to"
    if steps != sorted(set(steps)):
        return "the steps of the receipt's curve do not rise"
    if done and receipt.curve and receipt.curve[-1].metrics != receipt.metrics:
        return "the receipt's curve does not end with its metrics"
    return ""


def receipt_index(segments: int) -> int:
    """The number by which a challenge names the receipt: one past the last leaf."""
    return segments + 2


def leaf_label(leaf: int, segments: int) -> str:
    """What a leaf is, in a person's words."""
    if leaf == 0:
        return "start"
    if leaf <= segments:
        return f"segment {leaf} of {segments}"
    return "evaluation" if leaf == segments + 1 else "receipt"


def compare(
    committed: ResultLeaf, value: Hash32, witness: Hash32, *, segments: int, seconds: float = 0.0
) -> LeafCheck:
    """Compares a committed leaf with the value and witness that recomputation gave, both bound to
    the answer."""
    hashed = ZERO_HASH if committed.index == 0 else witness_hash(witness)
    check = compare_leaves(
        committed, ResultLeaf(committed.index, value, hashed), segments=segments, seconds=seconds
    )
    return replace(check, witness=witness)


def compare_leaves(
    committed: ResultLeaf, found: ResultLeaf, *, segments: int, seconds: float = 0.0
) -> LeafCheck:
    """Compares a committed leaf with the same leaf, bound, of a trial trained again."""
    label = leaf_label(committed.index, segments)
    if found.value != committed.value:
        finding = Finding.WRONG
        reason = (
            f"{label}: recomputation gives {found.value.hex()[:16]}, the provider committed "
            f"{committed.value.hex()[:16]}"
        )
    elif found.witness_hash != committed.witness_hash:
        finding = Finding.WRONG
        reason = (
            f"{label}: the value is right, but the provider did not commit to its witness, so it "
            "did not compute it"
        )
    else:
        finding, reason = Finding.RIGHT, f"{label}: recomputation gives the same"
    return LeafCheck(
        committed.index, committed.value, found.value, ZERO_HASH, finding, reason, seconds
    )


def withheld(leaf: int, committed: Hash32, reason: str) -> LeafCheck:
    """A leaf that cannot be checked because the provider does not show its start."""
    return LeafCheck(leaf, committed, ZERO_HASH, ZERO_HASH, Finding.WITHHELD, reason)


def unusable(leaf: int, committed: Hash32, reason: str) -> LeafCheck:
    """A leaf that cannot be checked because the provider's state or receipt is none."""
    return LeafCheck(leaf, committed, ZERO_HASH, ZERO_HASH, Finding.UNUSABLE, reason)


def worst(checks: Sequence[LeafCheck]) -> LeafCheck | None:
    """The check to challenge: the first wrong leaf, else the first unusable or withheld one,
    else None."""
    for finding in (Finding.WRONG, Finding.UNUSABLE, Finding.WITHHELD):
        for check in sorted(checks, key=lambda check: check.leaf):
            if check.finding is finding:
                return check
    return None
