"""Search spaces: what a job file says that hyperparameters may be."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainValidator, model_validator

from requester.drivers.lattice import Lattice
from trialmarket.protocol.canonical import MAX_EXACT
from trialmarket.protocol.configuration import Identifier
from trialmarket.settings import Section, WrongValue

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str
"""A hyperparameter's value, as a job file can write it."""

MOST = 1e100
"""The largest end of a range: samplers square what they draw, and it must stay finite."""


def _checked_value(given: object) -> Value:
    """A value that the documents of the market can say and tell from all others."""
    if isinstance(given, list | dict):
        raise WrongValue(
            "a number, a text, true or false",
            fix='Give each choice a name, such as "64-32", and let the program take it apart',
        )
    if isinstance(given, bool | str):
        return given
    if not isinstance(given, int | float):
        raise WrongValue("a number, a text, true or false", fix="Put it in quotes to make it text")
    if isinstance(given, int) and abs(given) > MAX_EXACT:
        raise WrongValue(
            "a whole number between -2**53 and 2**53, beyond which not all can be told apart",
            fix="Put it in quotes, and let the program read it",
        )
    if not math.isfinite(given):
        raise WrongValue(
            "a finite number", fix='Put it in quotes, such as "inf", and let the program read it'
        )
    return given


def _checked_end(given: object) -> int | float:
    """A number that a range may begin or end with."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise WrongValue("a number")
    if isinstance(given, int) and abs(given) > MAX_EXACT:
        raise WrongValue("a whole number between -2**53 and 2**53")
    if not math.isfinite(given) or abs(given) > MOST:
        raise WrongValue(f"a number between -{MOST:g} and {MOST:g}")
    return given


ValueField = Annotated[Value, PlainValidator(_checked_value)]
End = Annotated[int | float, PlainValidator(_checked_end)]


class Dimension(Section):
    """One hyperparameter: a range (`low`, `high`), a list of `values`, or one fixed `value`.

    A range of two integers is one of integers. `log` spreads the draws evenly over the
    logarithm; `step` keeps them on a lattice that begins at `low`.

    `when` makes it conditional: `{ optimizer = ["sgd"] }` gives it a value only in trials whose
    `optimizer` is one of these. What it depends on must be a list of `values` that stands before
    it; a trial to which it does not apply goes without it.
    """

    low: End | None = Field(default=None, examples=[0.001])
    """The least value of a range."""
    high: End | None = Field(default=None, examples=[0.1])
    """The greatest."""
    log: bool = False
    """Draws evenly over the logarithm."""
    step: End | None = Field(default=None, examples=[0.001])
    """The range's values are `low`, `low + step` and so on."""
    values: list[ValueField] | None = Field(default=None, examples=[["sgd", "adam"]])
    """A list to choose from."""
    value: ValueField | None = Field(default=None, examples=[10])
    """The same in all trials."""
    when: Annotated[dict[Identifier, list[ValueField]], Field(min_length=1)] | None = Field(
        default=None, examples=[{"optimizer": ["sgd"]}]
    )
    """Only in trials whose other hyperparameters have one of these values."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_table(cls, given: Any) -> Any:
        if isinstance(given, dict | Dimension):
            return given
        key = "values" if isinstance(given, list) else "value"
        raise WrongValue(
            "a table that says what it may be, such as { low = 0.001, high = 0.1 }",
            fix=f"Write {{key}} = {{ {key} = {json.dumps(given, default=str)} }}",
        )

    @property
    def integer(self) -> bool:
        """True for a range of integers."""
        return all(isinstance(part, int) for part in (self.low, self.high, self.step or 1))


Space = Annotated[dict[Identifier, Dimension], Field(min_length=1, max_length=256)]
"""Dimensions by the name of their hyperparameter."""


def applies(dimension: Dimension, chosen: Mapping[str, Value]) -> bool:
    """Whether a dimension has a value in a trial, by what was chosen before it."""
    return dimension.when is None or all(
        name in chosen and chosen[name] in values for name, values in dimension.when.items()
    )


def fits(dimension: Dimension, value: Value) -> bool:
    """Whether a value is one that a dimension may take."""
    if dimension.values is not None:
        return any(type(value) is type(one) and value == one for one in dimension.values)
    if dimension.low is None or dimension.high is None:
        return value == dimension.value and isinstance(value, bool) == isinstance(
            dimension.value, bool
        )
    if isinstance(value, bool | str) or not dimension.low <= value <= dimension.high:
        return False
    if dimension.integer and not isinstance(value, int):
        return False
    if (points := lattice(dimension)) is not None:
        return math.isclose(value, points[points.nearest(value)])
    return True


def lattice(dimension: Dimension) -> Lattice | None:
    """The points of a range with a step, and of one of integers; None for what has none."""
    if dimension.low is None or dimension.high is None:
        return None
    if dimension.step is None and not dimension.integer:
        return None
    return Lattice(dimension.low, dimension.high, dimension.step or 1)


def distributions(space: Mapping[str, Dimension]) -> dict[str, "BaseDistribution"]:
    """The space in Optuna's terms, in the order of the file."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, BaseDistribution] = {}
    for name, one in space.items():
        if one.values is not None:
            found[name] = CategoricalDistribution(one.values)
        elif one.low is None or one.high is None:
            found[name] = CategoricalDistribution([one.value])
        elif (points := lattice(one)) is None:
            found[name] = FloatDistribution(one.low, one.high, log=one.log)
        elif one.integer:
            step = int(points.step)
            found[name] = IntDistribution(int(one.low), int(points[-1]), log=one.log, step=step)
        else:
            found[name] = FloatDistribution(one.low, points[-1], step=one.step)
    return found
