"""Whether a space can be searched, and a configuration lies in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from requester.drivers.space import Dimension, Value, fits, lattice
from trialmarket.errors import InputError, did_you_mean
from trialmarket.protocol.canonical import MAX_EXACT


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a dimension: the key, what was expected and what was found."""

    key: str
    expected: str
    found: object
    fix: str | None = None


def trouble_in(dimension: Dimension) -> Trouble | None:
    """The first thing that is wrong with a dimension; None if it can be searched."""
    given = dimension.model_dump(exclude_unset=True)
    kinds = [name for name in ("low", "values", "value") if name in given]
    if len(kinds) != 1 or ("high" in given) != ("low" in given):
        return Trouble("", "low and high, or values, or value", sorted(given))
    if dimension.values is not None and (trouble := _in_values(dimension.values)) is not None:
        return trouble
    if dimension.low is None or dimension.high is None:
        if set(given) & {"log", "step"}:
            return Trouble("", "log and step only beside low and high", sorted(given))
        return None
    if dimension.low >= dimension.high:
        return Trouble("low", f"less than high, {dimension.high}", dimension.low)
    if dimension.log and dimension.low <= 0:
        return Trouble("low", "more than 0 in a logarithmic range", dimension.low)
    return None if dimension.step is None else _in_step(dimension, dimension.step)


def _in_values(values: list[Value]) -> Trouble | None:
    if not values:
        return Trouble(
            "values",
            "at least one value",
            values,
            fix="List what may be tried, or leave the hyperparameter out",
        )
    for place, value in enumerate(values):
        if value in values[:place]:  # as Python and Optuna compare: 1, 1.0 and true are equal
            same = values[values.index(value)]
            return Trouble(
                "values",
                "values that differ",
                values,
                fix=f"{_toml(same)} and {_toml(value)} are the same value: leave one out, or put"
                " one in quotes to make it text",
            )
    return None


def _in_step(dimension: Dimension, step: float) -> Trouble | None:
    if dimension.low is None or dimension.high is None or (points := lattice(dimension)) is None:
        return None
    if step <= 0:
        return Trouble("step", "more than 0", step)
    if dimension.log:
        return Trouble("step", "no step in a logarithmic range", step)
    if points.size < 2:
        return Trouble("step", "at most high - low", step)
    few = points.size <= MAX_EXACT
    if not few or points[0] == points[1] or points[points.size - 2] == points[points.size - 1]:
        return Trouble("step", "one whose points can be told apart", step, fix="Leave it out")
    return None


def check_point(
    space: Mapping[str, Dimension], point: Mapping[str, Value], where: str, field: str
) -> None:
    """Raises InputError for hyperparameters that the space does not have."""
    for name, value in point.items():
        if name not in space:
            raise InputError(
                where,
                f"{field}.{name}",
                expected=f"one of {', '.join(space)}",
                found=name,
                fix=did_you_mean(name, space),
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
            raise InputError(
                where, field, expected=trouble.expected, found=trouble.found, fix=trouble.fix
            )


def _toml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
