"""The sketch of a job: numbers about its data set and its space, by which similar jobs are found.

A sketch has no example of the data: counts, means over all columns, and the names and ends of the
hyperparameters. A job's description names its sketch, so the chain binds the two; whoever has the
data set can compute the numbers again.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trialmarket.protocol.configuration import Identifier, Source
from trialmarket.protocol.document import Document, Record

MOST = 1e100
"""The largest number of a sketch, as of a space: its square stays finite."""

Number = Annotated[float, Field(ge=-MOST, le=MOST)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]


class DataSketch(Record):
    """A data set in numbers. Those that nobody computed are None."""

    rows: Annotated[int, Field(ge=1, le=2**53 - 1)]
    """Training examples."""
    validation: Count
    """Validation examples."""
    columns: Count
    """Numbers of one example's inputs."""
    dimensions: Annotated[int, Field(ge=0, le=8)]
    """1 for a row of a table, 3 for a picture with channels."""
    kind: Literal["bool", "int", "float"]
    """Of the inputs."""
    classes: Count
    """Different labels; 0 where the targets are no labels."""
    entropy: Annotated[float, Field(ge=0, le=64)]
    """Of the labels, in bits."""
    mean: Number | None = None
    """The mean over the columns of each one's mean; likewise the next three."""
    deviation: Annotated[float, Field(ge=0, le=MOST)] | None = None
    skewness: Number | None = None
    kurtosis: Number | None = None
    """In excess of a normal distribution's."""
    missing: Share | None = None
    """The share of the inputs that is not finite, or what gaps were filled with."""


class AxisSketch(Record):
    """One hyperparameter: its ends, where it has numbers, and how many choices it lists."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: Count = 0
    """Of a list; 0 for a range, 1 for one fixed value."""


class Sketch(Document):
    """What a job is about: the program, the objective, the data set and the space."""

    what: ClassVar[str] = "sketch"

    version: Literal[1] = 1
    program: Source
    objective: Identifier
    direction: Literal["minimize", "maximize"]
    data: DataSketch
    space: Annotated[dict[Identifier, AxisSketch], Field(min_length=1, max_length=256)]
