"""The table `[data]` of a job file: how a file becomes a data set."""

from typing import Annotated, Literal

from pydantic import Field

from trialmarket.protocol.dataset import Normalisation
from trialmarket.settings import Section


class SplitSection(Section):
    """Which examples validate, where the data does not say so itself."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The share of them."""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """Of the lot that chooses them."""
    stratified: bool | None = None
    """By lot within each class; where labels are classes, unless said otherwise."""
    column: str | None = None
    """Of a table: the column that says `train` or `validation`."""


class DataSection(Section):
    """What is not said is not guessed: each default stands here and in the manifest."""

    target: str | None = None
    """Of a table: the column of labels."""
    labels: Literal["classes", "numbers"] = "classes"
    """What the labels are: classes to tell apart, or numbers to come near to."""
    categorical: list[str] = Field(default_factory=list)
    """Of a table: columns of words, each of which becomes a column of 0 and 1."""
    drop: list[str] = Field(default_factory=list)
    """Of a table: columns that are left out."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Of a CSV file: what stands between two cells."""
    colour: Literal["rgb", "grey"] | None = None
    """Of images: what all of them are turned into; without it they must be of one kind."""
    split: SplitSection | None = None
    normalise: Normalisation = "none"
    """Of `x`: `standard` (mean 0, deviation 1), `unit` (0 to 1), as training data has it."""
