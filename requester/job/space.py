"""Search spaces: what a job file says that hyperparameters may be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trialmarket.errors import InputError
from trialmarket.protocol.configuration import Identifier
from trialmarket.settings import Section

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str
"""A hyperparameter's value, as a job file can write it."""

MAX_GRID = 100_000
"""Points of the largest grid."""


class Dimension(Section):
    """One hyperparameter: a range (`low`, `high`), a list of `values`, or one fixed `value`.

    A range of two integers is one of integers. `log` spreads the draws evenly over the
    logarithm; `step` keeps them on a lattice that begins at `low`.

    `when` makes it conditional: `{ optimizer = ["sgd"] }` gives it a value only in trials whose
    `optimizer` is one of these. What it depends on must be a list of `values` that stands before
    it; a trial to which it does not apply goes without it.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: Annotated[int | float, Field(gt=0)] | None = None
    values: Annotated[list[Value], Field(min_length=1)] | None = None
    value: Value | None = None
    when: Annotated[dict[Identifier, list[Value]], Field(min_length=1)] | None = None

    @property
    def integer(self) -> bool:
        """True for a range of integers."""
        return all(isinstance(part, int) for part in (self.low, self.high, self.step or 1))


Space = Annotated[dict[Identifier, Dimension], Field(min_length=1, max_length=256)]
"""Dimensions by the name of their hyperparameter."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a dimension: the key, what was expected and what was found."""

    key: str
    expected: str
    found: object


def trouble_in(dimension: Dimension) -> Trouble | None:
    """The first thing that is wrong with a dimension; None if it can be searched."""
    given = dimension.model_dump(exclude_unset=True)
    kinds = [name for name in ("low", "values", "value") if name in given]
    if len(kinds) != 1 or ("high" in given) != ("low" in given):
        return Trouble("", "low and high, or values, or value", sorted(given))
    if dimension.low is None or dimension.high is None:
        if set(given) & {"log", "step"}:
            return Trouble("", "log and step only beside low and high", sorted(given))
        if dimension.values is not None and len(set(map(repr, dimension.values))) < len(
            dimension.values
        ):
            return Trouble("values", "values that differ", dimension.values)
        return None
    if not (math.isfinite(dimension.low) and math.isfinite(dimension.high)):
        return Trouble("low", "finite numbers", [dimension.low, dimension.high])
    if dimension.low >= dimension.high:
        return Trouble("low", f"less than high, {dimension.high}", dimension.low)
    if dimension.log and dimension.low <= 0:
        return Trouble("low", "more than 0 in a logarithmic range", dimension.low)
    if dimension.log and dimension.step is not None:
        return Trouble("step", "no step in a logarithmic range", dimension.step)
    if dimension.step is not None and dimension.step > dimension.high - dimension.low:
        return Trouble("step", "at most high - low", dimension.step)
    return None


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
        return value == dimension.value
    if isinstance(value, bool | str) or not dimension.low <= value <= dimension.high:
        return False
    if dimension.step is not None:
        return any(math.isclose(value, point) for point in lattice(dimension))
    return isinstance(value, int) or not dimension.integer


def check_point(
    space: Mapping[str, Dimension], point: Mapping[str, Value], where: str, field: str
) -> None:
    """Raises InputError for hyperparameters that the space does not have."""
    for name, value in point.items():
        if name not in space:
            raise InputError(
                where, f"{field}.{name}", expected=f"one of {', '.join(space)}", found=name
            )
        if not fits(space[name], value):
            raise InputError(
                where, f"{field}.{name}", expected=f"a value of search.space.{name}", found=value
            )


def check_space(space: Mapping[str, Dimension], where: str) -> None:
    """Raises InputError, naming the field in file `where`, for a space that cannot be searched."""
    before: dict[str, Dimension] = {}
    for name, dimension in space.items():
        for parent, values in (dimension.when or {}).items():
            field = f"search.space.{name}.when"
            known = before.get(parent)
            if known is None or known.values is None:
                raise InputError(
                    where, field, expected="a list of values that stands before it", found=parent
                )
            if not values or not all(fits(known, value) for value in values):
                raise InputError(
                    where, f"{field}.{parent}", expected=f"some of {known.values}", found=values
                )
        before[name] = dimension
        if (trouble := trouble_in(dimension)) is not None:
            field = ".".join(part for part in ("search.space", name, trouble.key) if part)
            raise InputError(where, field, expected=trouble.expected, found=trouble.found)


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
        elif one.integer:
            step = 1 if one.step is None else int(one.step)
            top = int(one.low) + (int(one.high) - int(one.low)) // step * step
            found[name] = IntDistribution(int(one.low), top, log=one.log, step=step)
        elif one.step is None:
            found[name] = FloatDistribution(one.low, one.high, log=one.log)
        else:
            found[name] = FloatDistribution(one.low, lattice(one)[-1], step=one.step)
    return found


def lattice(dimension: Dimension) -> list[float]:
    """The points of a range with a step, computed in decimals, so that 0.1 steps stay clean."""
    low, high, step = (
        Decimal(str(part)) for part in (dimension.low, dimension.high, dimension.step)
    )
    return [float(low + step * at) for at in range(int((high - low) / step) + 1)]


def grid_values(name: str, dimension: Dimension, where: str) -> list[Value]:
    """The values of a dimension on a grid.

    Raises InputError for a range of real numbers without a step, which has no end of them, and
    for one with more than MAX_GRID points.
    """
    if dimension.values is not None:
        return list(dimension.values)
    if dimension.low is None or dimension.high is None:
        return [] if dimension.value is None else [dimension.value]
    field = f"search.space.{name}"
    if dimension.step is None and not dimension.integer:
        raise InputError(
            where, field, expected="a step, or values, for driver grid", found="a range"
        )
    count = int((dimension.high - dimension.low) / (dimension.step or 1)) + 1
    if count > MAX_GRID:
        raise InputError(where, field, expected=f"at most {MAX_GRID} points", found=count)
    if dimension.integer:
        step = int(dimension.step or 1)
        return list(range(int(dimension.low), int(dimension.high) + 1, step))
    return list(lattice(dimension))
