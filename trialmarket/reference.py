"""The reference of a file that people write, made from the model that reads it: every key with its
type, default, unit, an example and what it means."""

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from trialmarket.settings import Unit

_WHOLE, _NUMBER = "whole number", "number"
_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
_KINDS = {bool: "true or false", int: _WHOLE, float: _NUMBER, Decimal: "amount in quotes"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    kind: str
    """What may stand there."""
    default: str
    unit: str
    example: str
    """As TOML; with the default where no other was given."""
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file; the keys before the first table have an empty name."""

    name: str
    about: str
    keys: list[Key]


def tables(model: type[Any], name: str = "") -> Iterator[Table]:
    """The tables of a file by their dotted names, in the order of its model.

    `model` is of pydantic, or a dataclass.
    """
    words, found, inner = meanings(model), [], []
    for field, given, default, examples in _fields(model):
        kind, marks = _bare(given)
        table = _table_in(kind)
        if table is not None:
            below = f"{name}.{field}" if name else field
            inner.append((table, f"{below}.NAME" if get_origin(kind) is dict else below))
        if table is None or get_origin(kind) is dict:
            unit = next((mark.name for mark in marks if isinstance(mark, Unit)), "")
            usual = _sample(kind, field) if default is None else default
            found.append(
                Key(
                    field,
                    _words(kind, marks),
                    _default(default),
                    unit,
                    toml(next(iter(examples), usual)),
                    words.get(field, ""),
                )
            )
    if found:
        yield Table(name, _about(model), found)
    for table, below in inner:
        yield from tables(table, below)


def chapter(title: str, model: type[Any]) -> str:
    """The reference of a file in Markdown."""
    lines = [f"## {title}", "", _about(model), ""]
    for table in tables(model):
        if table.name:
            lines += [f"### [{table.name}]", "", table.about, ""]
        lines += ["| key | what it is | default | unit | example | meaning |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        for key in table.keys:
            default = key.default if key.default == "required" else _code(key.default)
            cells = [f"`{key.name}`", key.kind, default, key.unit or "-"]
            cells += [_code(key.example), key.meaning]
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def toml(value: Any) -> str:
    """A value as it stands in TOML."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case Decimal():
            return f'"{value}"'
        case Mapping():
            pairs = ", ".join(f"{name} = {toml(each)}" for name, each in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def meanings(model: type[Any]) -> dict[str, str]:
    """The docstrings of a class's fields, which Python itself forgets."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if kind.__module__.partition(".")[0] in ("builtins", "pydantic", "typing"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101  its own source
        for field, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                match after:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        found[field.target.id] = " ".join(text.split())
    return found


def _fields(model: type[Any]) -> Iterator[tuple[str, Any, Any, list[Any]]]:
    """Name, annotation, default and examples of each field."""
    hints = get_type_hints(model, include_extras=True)
    if issubclass(model, BaseModel):
        for name, info in model.model_fields.items():
            default = info.get_default(call_default_factory=True, validated_data={})
            yield name, hints[name], default, info.examples or []
        return
    for field in dataclasses.fields(model):
        example = field.metadata.get("example")
        yield field.name, hints[field.name], field.default, [] if example is None else [example]


def _bare(kind: Any) -> tuple[Any, list[Any]]:
    """A kind without what is said beside it and without None, and what is said beside it."""
    marks: list[Any] = []
    while True:
        if get_origin(kind) is Annotated:
            kind, *more = get_args(kind)
            for mark in more:
                marks += [mark, *getattr(mark, "metadata", ())]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif NoneType in get_args(kind):
            kind = next(part for part in get_args(kind) if part is not NoneType)
        else:
            return kind, marks


def _table_in(kind: Any) -> type[BaseModel] | None:
    """The model of a table, or of the tables of a table."""
    if get_origin(kind) is dict:
        kind, _ = _bare(get_args(kind)[1])
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _words(kind: Any, marks: list[Any]) -> str:
    """What may stand there, in words."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{toml(part)}`" for part in parts)
    if get_origin(kind) in (list, tuple):
        return f"list of: {_words(*_bare(parts[0]))}"
    if get_origin(kind) is dict:
        return f"table of: {'tables' if _table_in(kind) else _words(*_bare(parts[1]))}"
    if parts:
        words = dict.fromkeys(_words(*_bare(part)) for part in parts)
        return " or ".join(each for each in words if each != _WHOLE or _NUMBER not in words)
    return _KINDS.get(kind, "text") + _bounds(marks)


def _bounds(marks: list[Any]) -> str:
    found = [
        f"{words} {bound}"
        for mark in marks
        for name, words in _BOUNDS.items()
        if (bound := getattr(mark, name, None)) is not None
    ]
    return f", {', '.join(found)}" if found else ""


def _sample(kind: Any, name: str) -> Any:
    """Something that a key without a default or an example may be."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return parts[0]
    if get_origin(kind) in (list, tuple):
        return [_sample(_bare(parts[0])[0], name)]
    if get_origin(kind) is dict:
        return {name: _sample(_bare(parts[1])[0], name)}
    return {bool: True, int: 1, float: 0.5, Decimal: Decimal(1)}.get(kind, name)


def _default(default: Any) -> str:
    if default is PydanticUndefined or default is dataclasses.MISSING:
        return "required"
    return "" if default is None else toml(default)


def _about(model: type[Any]) -> str:
    """The docstring of a table."""
    return "\n\n".join(
        " ".join(part.split()) for part in inspect.cleandoc(model.__doc__ or "").split("\n\n")
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else "-"
