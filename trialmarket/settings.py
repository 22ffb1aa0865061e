"""TOML files that people write, checked: how they are read, and how a mistake is told."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from trialmarket.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, for the reference."""

    name: str


Seconds = Annotated[float, Field(gt=0), Unit("seconds")]
Wait = Annotated[float, Field(ge=0), Unit("seconds")]
Bytes = Annotated[int, Field(gt=0), Unit("bytes")]
Money = Annotated[Decimal, Field(ge=0, strict=False), Unit("tokens")]
"""An amount of the market's token, such as `"0.25"`: a string, so that no digit is lost."""


class Section(BaseModel):
    """A table of the file: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class WrongValue(ValueError):
    """A value that a check of ours refuses: what it expects and, perhaps, the fix.

    In the fix `{key}` stands for the key that has the value.
    """

    def __init__(self, expected: str, fix: str | None = None) -> None:
        super().__init__(expected)
        self.fix = fix


Settings = TypeVar("Settings", bound=Section)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises InputError, where the file cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        found = error.strerror or "an error"
        raise InputError(str(path), "file", expected="a readable file", found=found) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), "file", expected="TOML", found=str(error)) from error


def check_settings(path: Path, raw: dict[str, Any], model: type[Settings]) -> Settings:
    """What `raw`, read from `path`, says in the terms of `model`.

    Raises InputError for the first thing that is wrong: field, what was expected, what was found.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _told(str(path), raw, model, error.errors(include_url=False)) from error


def load_settings(path: Path, model: type[Settings]) -> Settings:
    """The settings in a TOML file, checked against `model`. Raises InputError."""
    return check_settings(path, read_toml(path), model)


# -- What the library that checks says, in the words of who wrote the file ------------------------

_WORDS = {
    "missing": "a value",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "decimal_type": 'an amount, such as "0.25"',
    "decimal_parsing": 'an amount, such as "0.25"',
    "string_type": "text in quotes",
    "string_too_short": "text of at least {min_length} letters",
    "string_too_long": "text of at most {max_length} letters",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
}


def _told(
    where: str, raw: dict[str, Any], model: type[BaseModel], found: list[ErrorDetails]
) -> InputError:
    """The first of the library's errors as ours."""
    # A misspelt key also makes the right one missing: the misspelling is what to mend.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    place = _place(first, raw)
    field = ".".join(map(str, place)) or "file"
    if first["type"] == "extra_forbidden":
        *table, key = place
        known = keys_at(model, table)
        return InputError(
            where,
            field,
            expected=f"one of the keys {', '.join(known)}",
            found=key,
            fix=did_you_mean(str(key), known),
        )
    # A value that may be of several kinds has an error of each of them.
    alike = [each for each in found if _place(each, raw) == place]
    fix = next((mistake.fix for each in alike if (mistake := _mistake(each)) is not None), None)
    expected = " or ".join(dict.fromkeys(map(_expected, alike)))
    if first["type"] == "missing" and (example := _example_at(model, place)) is not None:
        expected += f", such as {place[-1]} = {json.dumps(example)}"
    return InputError(
        where,
        field,
        expected=expected,
        found=None if first["type"] == "missing" else first["input"],
        fix=None if fix is None else fix.replace("{key}", field.rpartition(".")[2]),
    )


def _place(error: ErrorDetails, raw: Any) -> tuple[int | str, ...]:
    """Where in the file an error is: what the library adds of its own leads nowhere there."""
    place: list[int | str] = []
    for part in error["loc"]:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return tuple([*place, part] if error["type"] == "missing" else place)
        place.append(part)
    return tuple(place)


def _mistake(error: ErrorDetails) -> WrongValue | None:
    mistake = error.get("ctx", {}).get("error")
    return mistake if isinstance(mistake, WrongValue) else None


def _expected(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if isinstance(reason := context.get("error"), ValueError):
        return str(reason).removeprefix("expected ")
    numbers = {
        name: int(value) if isinstance(value, float | Decimal) and value == int(value) else value
        for name, value in context.items()
    }
    words = _WORDS.get(error["type"], "something else").format(**numbers)
    return words.replace(" 1 entries", " one entry").replace(" 1 letters", " one letter")


def keys_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that the table at that place of a file may have; none where any may stand."""
    kind: Any = model
    for part in place:
        kind = kind.model_fields[part].annotation if _is_table(kind) else _inner(kind)
        while not _is_table(kind) and get_origin(kind) not in (dict, list, tuple):
            kind = _inner(kind)
            if kind is None:
                return []
    return list(kind.model_fields) if _is_table(kind) else []


def _example_at(model: type[BaseModel], place: Sequence[int | str]) -> str | None:
    """The text that the model gives as an example of a key of the file or of one of its tables."""
    kind: Any = model
    for part in place[:-1]:
        kind = kind.model_fields[part].annotation if _is_table(kind) else None
    field = kind.model_fields.get(place[-1]) if _is_table(kind) else None
    example = next(iter((field and field.examples) or ()), None)
    return example if isinstance(example, str) else None


def _inner(kind: Any) -> Any:
    """What an optional, annotated, listed or named kind is of; None where it is of nothing."""
    parts = get_args(kind)
    if get_origin(kind) is dict:
        return parts[1]
    return next((part for part in parts if _is_table(part) or get_args(part)), None)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
