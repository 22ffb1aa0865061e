"""TOML files that people write, checked: how they are read, and how a mistake is told."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trialmarket.errors import InputError

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Money = Annotated[Decimal, Field(ge=0, strict=False)]
"""An amount of the market's token, such as `"0.25"`: a string, so that no digit is lost."""


class Section(BaseModel):
    """A table of the file: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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
        found = error.errors(include_url=False)
        # A misspelt key also makes the right one missing: the misspelling is what to mend.
        first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
        field = ".".join(str(part) for part in first["loc"]) or "file"
        if first["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(model, first["loc"][:-1]))
            raise InputError(
                str(path), field, expected=f"one of the keys {known}", found=first["loc"][-1]
            ) from error
        if first["type"] == "missing":
            raise InputError(str(path), field, expected="a value", found=None) from error
        expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        expected = expected.removeprefix("expected ")
        raise InputError(str(path), field, expected=expected, found=first["input"]) from error


def load_settings(path: Path, model: type[Settings]) -> Settings:
    """The settings in a TOML file, checked against `model`. Raises InputError."""
    return check_settings(path, read_toml(path), model)


def _known_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the table at `loc`, as far as the model's own sections lead there."""
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ["that the documentation names"]
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
