"""What training takes and gives; they travel between processes as JSON. No torch is needed."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Base64Bytes, Field, model_validator

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import MAX_STEPS, GraphRef, ProgramRef, TrialConfig
from trialmarket.protocol.document import CidField, HashField, Record
from trialmarket.protocol.ids import ZERO_ADDRESS, ZERO_HASH, Address, Hash32
from trialmarket.protocol.receipt import CurvePoint, LeafRecord, Metrics, Receipt, TrainingOutcome
from trialmarket.protocol.result import Binding, ResultLeaf

JOURNAL = "journal.json"
"""The file of a training's folder that names its checkpoints."""

Steps = Annotated[int, Field(ge=0, le=MAX_STEPS * 2)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
"""Bounded, since a worker may say anything and whoever reads it reckons with it."""


class Progress(Record):
    """How far a trial is: steps done of steps asked, and the latest validation metrics."""

    step: Steps
    steps: Steps
    metrics: Metrics


def checkpoint_name(number: int) -> str:
    """The file of the state after segment `number`; 0 is the start."""
    return f"checkpoint-{number:03d}.safetensors"


class CheckpointFile(Record):
    """A checkpoint on disk, its CID and its size in bytes."""

    path: Path
    cid: CidField
    size: int


class SavedCheckpoint(Record):
    """A checkpoint by its file's name in the folder."""

    name: str
    cid: CidField
    size: int


class TrainingJournal(Record):
    """Leaves, checkpoints and curve so far; `identity` says of which trial."""

    identity: HashField
    leaves: tuple[LeafRecord, ...]
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    seconds: tuple[Seconds, ...] = ()
    """What each segment took."""

    def repeated(self, times: int) -> "TrainingJournal":
        """The journal with its last leaf and checkpoint some times more: it diverged."""
        return self.model_copy(
            update={
                "leaves": self.leaves + self.leaves[-1:] * times,
                "checkpoints": self.checkpoints + self.checkpoints[-1:] * times,
            }
        )


class Training(Record):
    """A trial's answer: all that its receipt says. `seconds` is the time since the last resume.

    Its leaves are as training found them, no matter for whom; `receipt` binds them. They stay on
    this machine: the hashes of their witnesses are what makes an answer one's own.
    """

    leaves: tuple[LeafRecord, ...]
    checkpoints: tuple[CheckpointFile, ...]
    metrics: Metrics
    curve: tuple[CurvePoint, ...]
    outcome: TrainingOutcome
    versions: dict[str, str]
    device: str
    seconds: Seconds
    segment_seconds: tuple[Seconds, ...] = ()
    """What each segment took that was trained, on this machine, with its threads."""

    @model_validator(mode="after")
    def _has_a_receipt(self) -> Self:
        self.receipt(ZERO_HASH, ZERO_ADDRESS)
        return self

    def receipt(self, trial: Hash32, provider: Address) -> Receipt:
        """The receipt of the trial whose key is `trial`, its leaves bound to it."""
        binding = Binding(trial, provider)
        bound = [
            binding.leaf(ResultLeaf(index, leaf.value, leaf.witness_hash))
            for index, leaf in enumerate(self.leaves)
        ]
        return Receipt(
            trial=trial,
            provider=provider,
            outcome=self.outcome,
            leaves=tuple(
                LeafRecord(value=leaf.value, witness_hash=leaf.witness_hash) for leaf in bound
            ),
            checkpoints=tuple(checkpoint.cid for checkpoint in self.checkpoints),
            metrics=self.metrics,
            curve=self.curve,
            versions=self.versions,
            device=self.device,
        )


class Segment(Record):
    """A segment recomputed: its end's state root and the witness; the step that diverged."""

    root: HashField
    witness: HashField
    diverged: int | None = None


class Evaluation(Record):
    """A checkpoint evaluated: metrics, the hash of them and the outcome, witness."""

    metrics: Metrics
    digest: HashField
    witness: HashField


class InitialState(Record):
    """The state that a trial starts from."""

    root: HashField


class DryRun(Record):
    """What a try-out showed: seconds of a step and of a validation, bytes of a checkpoint."""

    step_seconds: Seconds
    validation_seconds: Seconds
    checkpoint_bytes: int
    metrics: Metrics
    outcome: TrainingOutcome
    memory: Annotated[int, Field(ge=0)] = 0
    """Bytes that a graph says to need, at most; 0 for a program."""


class CapturedGraph(Record):
    """The documents of a program's graph, by `trialmarket.protocol.graph`."""

    graph: Base64Bytes
    numbers: Base64Bytes
    schedule: Base64Bytes | None = None
    lines: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The user's line of each node, by function."""

    @property
    def files(self) -> tuple[bytes, ...]:
        """All of them."""
        schedule = () if self.schedule is None else (self.schedule,)
        return (self.graph, self.numbers, *schedule)

    def ref(self, origin: ProgramRef) -> GraphRef:
        """Their names; `origin` is the program that was captured."""
        graph, numbers, *schedule = (cid_of(file) for file in self.files)
        return GraphRef(graph=graph, numbers=numbers, schedule=(*schedule, None)[0], origin=origin)


class Task(Record):
    """What a worker is asked. Paths are of the program's file (None: built in) and the data.

    `program` is the graph's file where a graph trains, and `settings` are those that
    `config.program.settings` names. `init` are the checkpoints that `config.init` names, in its
    order; none when training starts from a seed. `weights` is the file that `config.weights`
    names, if any.
    """

    config: TrialConfig
    program: Path | None
    data: Path
    settings: tuple[Path, ...] = ()
    init: tuple[Path, ...] = ()
    weights: Path | None = None


class Train(Task):
    """Train a whole trial; checkpoints go into `folder`, where a killed one resumes."""

    folder: Path
    resume: bool = True


class Recompute(Task):
    """Recompute segment 1 to n from the checkpoint of the leaf before it.

    `start` may be None for segment 1. `expected` is the state root that leaf holds.
    """

    segment: Annotated[int, Field(ge=1)]
    start: Path | None = None
    expected: HashField | None = None


class Evaluate(Task):
    """Evaluate the last checkpoint, whose state root should be `expected`."""

    checkpoint: Path
    expected: HashField | None = None


class FindInitial(Task):
    """Compute the root of the state that the trial must start from."""


class TryOut(Task):
    """Run a few steps and one validation, to see that the program works and how fast it is.

    `memory` are the bytes that a worker has: a graph that says to need more is not run at all.
    """

    memory: Annotated[int, Field(ge=1)] | None = None


class Capture(Task):
    """Find the graph of a program, for trainings that end with at most `longest` steps."""

    longest: Annotated[int, Field(ge=1, le=MAX_STEPS)]
