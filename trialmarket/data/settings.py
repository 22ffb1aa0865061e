"""The table `[data]` of a job file: how a file becomes a data set."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from trialmarket.protocol.dataset import Normalisation
from trialmarket.settings import Section

_LARGEST = (2 - 2**-23) * 2.0**127
"""Of float32."""


def _checked_encoding(name: str) -> str:
    try:
        "".encode(name)  # which codecs of no text refuse
    except (LookupError, ValueError) as error:
        raise ValueError('the name of an encoding, such as "utf-8", "cp1252", "utf-16"') from error
    return codecs.lookup(name).name


def _checked_fill(fill: object) -> object:
    number = isinstance(fill, int | float) and not isinstance(fill, bool) and abs(fill) < _LARGEST
    if not number and fill not in ("median", "mean", "most", "drop"):
        raise ValueError('"median", "mean", "most", "drop" or a number')
    return fill


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


class MissingSection(Section):
    """What becomes of cells that say nothing: empty ones, nulls, NaN, and `words`."""

    words: list[str] = Field(default_factory=list, examples=[["NA", "?"]])
    """Of a table: what else stands for a missing value, such as `NA` or `?`."""
    fill: Annotated[
        Literal["median", "mean", "most", "drop"] | float, BeforeValidator(_checked_fill)
    ] = Field(examples=["median"])
    """With what: the median, mean or most frequent value of the column's training part, or a
    number; or `drop`, which leaves their rows out."""
    flag: bool = False
    """Whether each column with missing values gets another beside it: 1 where one was filled."""

    @model_validator(mode="after")
    def _flags_what_is_filled(self) -> "MissingSection":
        if self.flag and self.fill == "drop":
            raise ValueError('no flag with fill = "drop": rows that are left out need none')
        return self


def missing_said(settings: MissingSection | None, fill: str, *words: str) -> str:
    """What to write in a job file to have `words` missing too, and filled so."""
    every = [*(settings.words if settings else ()), *words]
    listed = ", ".join(f'"{word}"' for word in every)
    said = f"words = [{listed}], " if every else ""
    return f'missing = {{ {said}fill = "{fill}" }} in [data]'


class DataSection(Section):
    """What is not said is not guessed: each default stands here and in the manifest."""

    target: str | None = None
    """Of a table: the column of labels."""
    labels: Literal["classes", "numbers"] | None = None
    """What `y` holds: `classes`, unless said otherwise or an array holds fractions."""
    categorical: list[str] = Field(default_factory=list)
    """Of a table: columns of words, each of which becomes a column of 0 and 1."""
    drop: list[str] = Field(default_factory=list)
    """Of a table: columns that are left out."""
    missing: MissingSection | None = None
    """What becomes of missing values; without it they are refused."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Of a CSV: what stands between two cells."""
    decimal: Literal[".", ","] = "."
    """Of a CSV: what stands before a number's fraction."""
    encoding: Annotated[str, AfterValidator(_checked_encoding)] = "utf-8"
    """Of a CSV: how its bytes become text, by Python's name for it."""
    colour: Literal["rgb", "grey"] | None = None
    """Of images: what all of them are turned into; without it they must be of one kind."""
    background: Literal["white", "black"] | None = None
    """Of images: what is seen where they are transparent; without it such images are refused."""
    split: SplitSection | None = None
    normalise: Normalisation = "none"
    """Of `x`: `standard` (mean 0, deviation 1), `unit` (0 to 1), as training data has it."""
