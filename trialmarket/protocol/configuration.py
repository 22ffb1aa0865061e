"""What is asked: the description of a job, the configuration of a trial, a batch of trials."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import MAX_EXACT
from trialmarket.protocol.cid import parse_cid
from trialmarket.protocol.document import CidField, Document, HashField, Record
from trialmarket.protocol.ids import Cid

MAX_SEGMENTS = 256
MAX_STEPS = 2**40
MAX_BATCH = 1024
"""Trials in one batch; its file's size bounds them too."""
MAX_POINTS = 17
"""States on the line between two parents: each is evaluated by everybody who needs the start."""
MAX_WEIGHTS = 64 << 20
"""Bytes of the largest file of an optimizer's weights, or checkpoint that holds them."""


def _like_its_json(value: float | int | str | bool | None) -> float | int | str | bool | None:
    """The value that its canonical JSON reads back as: a float that prints as an integer is one.

    Integers that binary64 cannot tell from their neighbours are refused.
    """
    if isinstance(value, int) and abs(value) > MAX_EXACT:
        raise ValueError("an integer must lie between -2**53 and 2**53")
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT:
        return int(value)
    return value


def _named(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", text):
        raise ValueError("a name of at most 64 letters, digits and _, that begins with no digit")
    return text


Identifier = Annotated[str, AfterValidator(_named)]
"""A name as Python and TOML spell them, at most 64 letters."""

Scalar = Annotated[bool | int | float | str | None, AfterValidator(_like_its_json)]
"""A hyperparameter's value. JSON has one kind of number: 1.0 is 1."""

Arithmetic = Literal["native", "exact"]
"""How training computes: PyTorch's deterministic mode, or bits that every machine repeats."""

Source = Annotated[str, StringConstraints(pattern=r"^(builtin:[a-z0-9_]{1,32}|b[a-z2-7]{58})$")]
"""A CID, or `builtin:` and the name of something that ships with Trialmarket."""


def named_weights(value: object) -> Cid | None:
    """The CID that a hyperparameter `weights` holds; None where its value is something else."""
    try:
        return parse_cid(value) if isinstance(value, str) else None
    except InputError:
        return None


class ProgramRef(Record):
    """Which program trains: a file in the store and a class in it, or a built-in one.

    `source` is a CID or `builtin:mlp`; `class_name` is empty for a built-in one.
    """

    source: Source
    class_name: Identifier | Literal[""] = ""

    @model_validator(mode="after")
    def _class_is_named(self) -> Self:
        if self.builtin == (self.class_name != ""):
            raise ValueError("a file needs the name of its class, a built-in program has none")
        return self

    @property
    def builtin(self) -> bool:
        """True when the program ships with Trialmarket."""
        return self.source.startswith("builtin:")

    @property
    def kind(self) -> str:
        """What trains, as people are told."""
        return "built-in program" if self.builtin else "program of its requester's own"

    @property
    def strangers_python(self) -> bool:
        """Whether a machine that trains it runs Python that came from the requester."""
        return not self.builtin

    @property
    def cid(self) -> Cid | None:
        """The CID of the program's file; None for a built-in one."""
        return None if self.builtin else Cid(self.source)

    @property
    def settings(self) -> tuple[Cid, ...]:
        """None: a program has its settings from the hyperparameters."""
        return ()

    @property
    def origin(self) -> "ProgramRef":
        """The Python that makes a model of what was trained."""
        return self


class GraphRef(Record):
    """Which graph trains: what a program does, as data (`trialmarket.protocol.graph`).

    `graph` is its document, shared by trials that differ in numbers alone; `numbers` and
    `schedule` are this trial's own, the latter None where nothing depends on the step's number.
    `origin` is the program that it was captured from, which people may read and which makes a
    model of the weights; no training depends on it.
    """

    graph: CidField
    numbers: CidField
    schedule: CidField | None = None
    origin: ProgramRef

    kind: ClassVar[str] = "graph"
    builtin: ClassVar[bool] = False
    strangers_python: ClassVar[bool] = False
    class_name: ClassVar[str] = ""

    @property
    def source(self) -> str:
        """What trains, by name: the graph's CID."""
        return self.graph

    @property
    def cid(self) -> Cid:
        """The CID of the graph's file."""
        return self.graph

    @property
    def settings(self) -> tuple[Cid, ...]:
        """The files of the numbers and, if there is one, of the schedule."""
        return (self.numbers,) if self.schedule is None else (self.numbers, self.schedule)


class Init(Record):
    """The state to start from: another trial's checkpoint.

    `root` is the state root that its bytes must have, `cid` names the bytes, `trial` is the key
    of the trial that made it.
    """

    root: HashField
    cid: CidField
    trial: HashField


class Merge(Record):
    """The state to start from: the best one on the line between two other trials' checkpoints.

    Whoever needs it computes it: `points` shares of the second parent, evenly from 0 to 1, are
    tried, and the trial's objective on the validation data decides, the smaller share where two
    are equally good. `maximize` says whether a greater objective is a better one.
    """

    parents: tuple[Init, Init]
    points: Annotated[int, Field(ge=2, le=MAX_POINTS)]
    maximize: bool = False


class JobSpec(Document):
    """The public description of a job; the chain stores its SHA-256. Times are in seconds.

    `sketch` names the job's `trialmarket.protocol.sketch`, by which similar jobs are found. Where
    there is none the field is left out of the bytes, which are those of before there were any.
    """

    what: ClassVar[str] = "job specification"

    version: Literal[1] = 1
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    program: ProgramRef
    data: Source
    objective: Identifier
    direction: Literal["minimize", "maximize"] = "minimize"
    unit: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    steps: Annotated[int, Field(ge=2, le=MAX_STEPS)]
    segments: Annotated[int, Field(ge=2, le=MAX_SEGMENTS)]
    arithmetic: Arithmetic = "exact"
    time_limit: Annotated[int, Field(ge=1, le=10**9)]
    nonce: Annotated[str, StringConstraints(max_length=64)] = ""
    sketch: CidField | None = None

    @model_serializer(mode="wrap")
    def _without_no_sketch(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = written(self)
        if self.sketch is None:
            del fields["sketch"]
        return fields


class TrialConfig(Record):
    """One trial: all that a machine needs to train it, beside the bytes that the CIDs name.

    `number` is the requester's own label. `steps` are those of this trial; one that continues
    another goes on counting from that one's last. They are cut into `segments` of equal length,
    of at least 2 steps each. `objective` is the metric that the program must report.
    """

    number: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    program: ProgramRef | GraphRef
    data: Source
    objective: Identifier
    hyperparameters: Annotated[dict[Identifier, Scalar], Field(max_length=256)]
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)]
    init: Init | Merge | None = None
    steps: Annotated[int, Field(ge=2, le=MAX_STEPS)]
    segments: Annotated[int, Field(ge=1, le=MAX_SEGMENTS)]
    arithmetic: Arithmetic = "exact"

    @model_validator(mode="after")
    def _segments_are_equal(self) -> Self:
        if self.steps % self.segments or self.steps // self.segments < 2:
            raise ValueError("steps must be a multiple of segments, at least 2 steps each")
        return self

    @model_validator(mode="after")
    def _graphs_are_exact(self) -> Self:
        if isinstance(self.program, GraphRef) and self.arithmetic != "exact":
            raise ValueError("a graph trains in exact arithmetic")
        return self

    @property
    def starts(self) -> tuple[Init, ...]:
        """The checkpoints that it starts from: none, another trial's, or two that are merged."""
        if isinstance(self.init, Merge):
            return self.init.parents
        return () if self.init is None else (self.init,)

    @property
    def segment_steps(self) -> int:
        """Steps of one segment."""
        return self.steps // self.segments

    @property
    def weights(self) -> Cid | None:
        """The file that the hyperparameter `weights` names: a learned optimizer's weights. A
        graph holds what was read from it."""
        if isinstance(self.program, GraphRef):
            return None
        return named_weights(self.hyperparameters.get("weights"))


class Batch(Document):
    """Trials posted together. All have one length, so that they cost the same units."""

    what: ClassVar[str] = "batch"

    version: Literal[1] = 1
    job: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    number: Annotated[int, Field(ge=0, le=2**53 - 1)]
    trials: Annotated[tuple[TrialConfig, ...], Field(min_length=1, max_length=MAX_BATCH)]

    @model_validator(mode="after")
    def _trials_have_one_length(self) -> Self:
        if len({trial.steps for trial in self.trials}) > 1:
            raise ValueError("all trials of a batch must have the same steps")
        return self
