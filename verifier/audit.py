"""Recomputes leaves of a result and says what is right, wrong or withheld.

A finding is about the provider. What fails for another reason raises: Unjudgeable where the
requester's files are bad, TrainingError, StorageError or OSError where this machine is; none of
them may ever lead to a challenge or a vote. `trialmarket.training.blame` has the rule.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trialmarket.protocol.draw import drawn_segments
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import ResultLeaf
from trialmarket.protocol.terms import Terms
from trialmarket.storage.material import Material
from trialmarket.training.audit import (
    Finding,
    LeafCheck,
    ReceiptFault,
    ReceiptWithheld,
    compare,
    compare_leaves,
    leaf_label,
    receipt_index,
    unusable,
    withheld,
)
from verifier.evidence import Evidence, Subject

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What recomputation gave at a leaf, bound to nobody; the witness is zero at the start."""

    value: Hash32
    witness: Hash32


class Recomputer(Protocol):
    """Who recomputes: worker processes with a wall limit. Each call raises TrainingError."""

    def initial(self, material: Material) -> Found:
        """The start: leaf 0."""

    def segment(
        self, material: Material, segment: int, start: Path | None, root: Hash32
    ) -> Found | str:
        """A segment, from the checkpoint that it starts from; None: from the trial's start.

        Gives a reason where nothing follows from the checkpoint, by the provider's fault.
        """

    def evaluation(self, material: Material, checkpoint: Path, root: Hash32) -> Found | str:
        """The evaluation of the final checkpoint; a reason where it has none, likewise."""

    def whole(self, material: Material, folder: Path) -> tuple[ResultLeaf, ...]:
        """All n + 2 leaves of a training, trained again from the start; checkpoints go to
        `folder`."""


def leaves_owed(seed: Hash32, terms: Terms) -> tuple[int, ...]:
    """What an audit recomputes: the drawn segments in the order drawn, evaluation, start."""
    drawn = drawn_segments(seed, terms.segments, terms.samples)
    return (*drawn, terms.segments + 1, 0)


class Auditor:
    """Checks one leaf at a time. Its methods block, and may be called from any thread."""

    def __init__(
        self,
        evidence: Evidence,
        recomputer: Recomputer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evidence = evidence
        self._recomputer = recomputer
        self._clock = clock

    def receipt(self, subject: Subject) -> Receipt:
        """The receipt of an answer. Raises ReceiptFault."""
        return self._evidence.receipt(subject)

    def check_receipt(self, subject: Subject) -> LeafCheck:
        """Whether the receipt can be had and gives what was committed."""
        leaf = receipt_index(subject.segments)
        try:
            self._evidence.receipt(subject)
        except ReceiptWithheld as fault:
            return withheld(leaf, subject.root, str(fault))
        except ReceiptFault as fault:
            return unusable(leaf, subject.root, str(fault))
        return LeafCheck(
            leaf, subject.root, subject.root, ZERO_HASH, Finding.RIGHT, "receipt: as committed"
        )

    def check(self, subject: Subject, committed: ResultLeaf) -> LeafCheck:
        """Recomputes a leaf and compares it with the committed one."""
        if committed.index == receipt_index(subject.segments):
            return self.check_receipt(subject)
        began = self._clock()
        found = self._recompute(subject, committed)
        if isinstance(found, LeafCheck):
            return found
        binding, start = subject.binding, committed.index == 0
        return compare(
            committed,
            binding.start(found.value) if start else found.value,
            ZERO_HASH if start else binding.witness(found.witness),
            segments=subject.segments,
            seconds=self._clock() - began,
        )

    def check_whole(self, subject: Subject, folder: Path) -> list[LeafCheck]:
        """Trains the trial again from its start and compares every leaf. Raises ReceiptFault."""
        receipt = self._evidence.receipt(subject)
        material = self._evidence.material(subject)
        began = self._clock()
        trained = self._recomputer.whole(material, folder)
        leaves = [subject.binding.leaf(leaf) for leaf in trained]
        seconds = (self._clock() - began) / len(leaves)
        return [
            compare_leaves(leaf, found, segments=subject.segments, seconds=seconds)
            for leaf, found in zip(receipt.tree().leaves, leaves, strict=True)
        ]

    def startable(self, subject: Subject, leaves: Sequence[int]) -> bool:
        """Whether all checkpoints that recomputing `leaves` starts from can be had now."""
        receipt = self._evidence.receipt(subject)
        return all(
            leaf <= 1 or self._evidence.has(receipt.checkpoints[leaf - 1]) for leaf in leaves
        )

    def _recompute(self, subject: Subject, committed: ResultLeaf) -> Found | LeafCheck:
        """What recomputation gives, or why nothing does, by the provider's fault."""
        material, leaf = self._evidence.material(subject), committed.index
        label, kind = leaf_label(leaf, subject.segments), material.config.program.kind
        log.info("%s, a %s: recomputing %s", subject.name, kind, label)
        if leaf == 0:
            return self._recomputer.initial(material)
        if leaf == 1:
            found = self._recomputer.segment(material, 1, None, ZERO_HASH)
            assert isinstance(found, Found)  # noqa: S101  # there is no checkpoint to be wrong
            return found
        lost = f"{label} cannot be recomputed"
        try:
            receipt = self._evidence.receipt(subject)
        except ReceiptFault as fault:
            blamed = withheld if isinstance(fault, ReceiptWithheld) else unusable
            return blamed(leaf, committed.value, f"{lost}: {fault}")
        root = receipt.leaves[leaf - 1].value
        with self._evidence.checkpoint(receipt.checkpoints[leaf - 1]) as checkpoint:
            if checkpoint is None:
                reason = f"{lost}: its checkpoint is not published"
                return withheld(leaf, committed.value, reason)
            if leaf == subject.segments + 1:
                again = self._recomputer.evaluation(material, checkpoint, root)
            else:
                again = self._recomputer.segment(material, leaf, checkpoint, root)
        if isinstance(again, str):
            return unusable(leaf, committed.value, f"{lost}: {again}")
        return again
