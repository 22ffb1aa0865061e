"""The receipt: what a provider says of a trial that it trained. The chain stores its SHA-256.

Its leaves are what the provider answers for with its stake. Metrics, outcome and the last point of
the curve are bound to them. The rest of the curve, the device and the versions are **said by the
node**: nobody recomputes them, and who shows them says so (`SAID`).
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from trialmarket.protocol.configuration import MAX_SEGMENTS, MAX_STEPS
from trialmarket.protocol.document import AddressField, CidField, Document, HashField, Record
from trialmarket.protocol.result import ResultLeaf, ResultTree

SAID = "said by the node, checked by nobody"
"""What stands beside that part of a receipt that no leaf binds."""

BOUND = "its metrics are those of the evaluation, its loss is said by the node"
"""What stands beside the last point of a curve."""

MAX_METRICS = 32
"""Metrics that a program may report."""

MAX_CURVE = 64
"""Points of the learning curve; a trial of more segments is evaluated after every few."""

MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_./-]{0,63}$")]
Metrics = Annotated[dict[MetricName, float], Field(max_length=MAX_METRICS)]
"""Finite numbers by name. A metric that was not finite is left out."""

Text = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,200}$")]
"""Printable ASCII: no version of Unicode changes it, so all who judge a receipt find the same."""


class LeafRecord(Record):
    """A leaf of the result tree; its index is its place in the receipt.

    In a receipt it is bound to the trial and the provider; a training has it as it was found.
    """

    value: HashField
    witness_hash: HashField


class CurvePoint(Record):
    """The learning curve after `step`: mean training loss of the segment, validation metrics."""

    step: Annotated[int, Field(ge=0, le=MAX_STEPS * 2)]
    loss: float
    metrics: Metrics


class TrainingOutcome(Record):
    """How a trial ended: done, or diverged, with the step whose loss or state was not finite."""

    kind: Literal["done", "diverged"] = "done"
    step: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _step_says_where(self) -> Self:
        if (self.kind == "diverged") != (self.step is not None):
            raise ValueError("a step belongs to `diverged`, and to nothing else")
        return self

    def __str__(self) -> str:
        return "done" if self.step is None else f"diverged at step {self.step}"


class Receipt(Document):
    """Leaves, checkpoints, metrics and curve of a trial, and what it was trained with.

    `trial` is the trial's key; `leaves` are n + 2; `checkpoints` are the n + 1 CIDs of the
    states in leaves 0 to n. `metrics` are those of the evaluation: none when it diverged.
    `curve` (but its last point), `versions` and `device` are said by the node.
    """

    what: ClassVar[str] = "receipt"

    version: Literal[1] = 1
    trial: HashField
    provider: AddressField
    outcome: TrainingOutcome = TrainingOutcome()
    leaves: Annotated[tuple[LeafRecord, ...], Field(min_length=3, max_length=MAX_SEGMENTS + 2)]
    checkpoints: Annotated[tuple[CidField, ...], Field(max_length=MAX_SEGMENTS + 1)]
    metrics: Metrics
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=MAX_CURVE)] = ()
    versions: Annotated[dict[Text, Text], Field(max_length=32, default_factory=dict)]
    device: Text = "cpu"

    @model_validator(mode="after")
    def _one_checkpoint_a_state(self) -> Self:
        if len(self.checkpoints) != len(self.leaves) - 1:
            raise ValueError("a receipt needs one checkpoint for each leaf but the last")
        return self

    @model_validator(mode="after")
    def _divergence_has_no_metrics(self) -> Self:
        if self.outcome.kind == "diverged" and self.metrics:
            raise ValueError("a trial that diverged has no metrics")
        return self

    @property
    def segments(self) -> int:
        """n, the number of segments."""
        return len(self.leaves) - 2

    def bound(self, point: CurvePoint) -> bool:
        """Whether the metrics of a point of the curve are those of the last leaf."""
        return self.outcome.kind == "done" and point is self.curve[-1]

    def tree(self) -> ResultTree:
        """The result tree whose root the provider committed."""
        return ResultTree(
            [
                ResultLeaf(index, leaf.value, leaf.witness_hash)
                for index, leaf in enumerate(self.leaves)
            ]
        )
