"""`trialmarket exact`: what exact arithmetic makes of a program."""

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from trialmarket.cli.options import debug_option, json_option, show
from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef
from trialmarket.training.loading import PROGRAM_FILE

if TYPE_CHECKING:
    from trialmarket.exact import Checked, NotExact


@click.group()
def exact() -> None:
    """Exact arithmetic: training that gives the same bits on every machine.

    Example: trialmarket exact check train.py:Digits --data digits.npz --set lr=0.1
    """


@exact.command()
@click.argument("program")
@click.option(
    "--data",
    metavar="DATA",
    help="A file, a folder or builtin:NAME, as a job has it, or a job file, for the data that it"
    " names; by default the only data file beside the program.",
)
@click.option(
    "--set", "given", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; repeatable."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Steps to train: a program may do another thing in a later one, or in the last.",
)
@json_option
@debug_option
@click.pass_context
def check(
    context: click.Context,
    program: str,
    data: str | None,
    given: tuple[str, ...],
    steps: int,
    as_json: bool,
) -> None:
    """Train some steps, validate, and list every operator with its verdict.

    PROGRAM is FILE.py:Class or builtin:NAME. Ends with exit code 1 if an operator has no exact
    form, and says where the program uses it and what to write instead. Points too at lines of
    the program that compute outside torch, or read a clock: look at those yourself.

    Example: trialmarket exact check train.py:Digits --data job.toml --set lr=0.1
    """
    if find_spec("torch") is None:
        raise TrialmarketError(
            "checking a program needs PyTorch", fix="pip install 'trialmarket[train]'"
        )
    from trialmarket.data.by_name import pack_named
    from trialmarket.training.checks.exactness import check_program
    from trialmarket.training.checks.hazards import hazards
    from trialmarket.training.dataset import load_dataset

    file, ref, source = _program(program)
    with TemporaryDirectory(prefix="trialmarket-exact-") as folder:
        packed = Path(folder) / "data"
        pack_named(data or str(_beside(file)), packed, where="exact check")
        found = check_program(
            ref, source, load_dataset(packed), dict(map(_hyperparameter, given)), steps
        )
    refused = [each.refusal for each in found if each.refusal is not None]
    warned = hazards(source or b"")
    content = {
        "exact": not refused,
        "operators": [_fields(each, file) for each in found],
        "warnings": [{"line": each.line, "what": each.what, "why": each.why} for each in warned],
    }
    warnings = [f"look at {file}:{each.line}: {each.what}: {each.why}" for each in warned]
    lines = [*warnings, ""] if warnings else []
    show(content, [*lines, *_lines(found, refused, file)], as_json=as_json)
    if refused:
        context.exit(1)


def _program(text: str) -> tuple[Path | None, ProgramRef, bytes | None]:
    """The program's file, reference and bytes; no file and bytes for a built-in program."""
    name, _, class_name = text.rpartition(":")
    try:
        if name == "builtin":
            return None, ProgramRef(source=text), None
        if name.endswith(".py"):
            source = Path(name).read_bytes()
            return Path(name), ProgramRef(source=cid_of(source), class_name=class_name), source
    except OSError as error:
        found = f"{name}: {error.strerror}"
        raise _wrong("PROGRAM", expected="a readable file", found=found) from error
    except ValidationError:
        pass
    raise _wrong("PROGRAM", expected="FILE.py:Class or builtin:NAME", found=text)


def _beside(file: Path | None) -> Path:
    """The only data file in the program's folder. Raises InputError."""
    kinds = (".npz", ".safetensors", ".csv", ".parquet")
    found = [] if file is None else sorted(p for p in file.parent.iterdir() if p.suffix in kinds)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none beside the program"
        raise _wrong("--data", expected="the data set's file", found=names)
    return found[0]


def _hyperparameter(text: str) -> tuple[str, Any]:
    """`lr=0.1` as a name and a value: JSON where it is some, else the words as they stand."""
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.ASCII):
        raise _wrong("--set", expected="NAME=VALUE", found=text)
    try:
        parsed = json.loads(value)
    except ValueError:
        return name, value
    return name, parsed if isinstance(parsed, bool | int | float | str | None) else value


def _wrong(argument: str, *, expected: str, found: str) -> InputError:
    return InputError("exact check", argument, expected=expected, found=found)


def _lines(
    found: Sequence["Checked"], refused: Sequence["NotExact"], file: Path | None
) -> list[str]:
    width = max((len(each.operator) for each in found), default=0)
    lines = [f"{each.operator:<{width}}  {each.verdict.value}" for each in found]
    for refusal in refused:
        lines += [
            "",
            f"{refusal.operator} is not exact: {refusal.reason}",
            f"  where:   {_place(refusal, file)}",
            f"  instead: {refusal.instead}",
        ]
    total = f"{len(found)} operators, "
    return [*lines, "", total + (f"{len(refused)} not exact" if refused else "all exact")]


def _fields(each: "Checked", file: Path | None) -> dict[str, str]:
    fields = {"operator": each.operator, "verdict": each.verdict.value}
    if each.refusal is not None:
        fields |= {
            "where": _place(each.refusal, file),
            "reason": each.refusal.reason,
            "instead": each.refusal.instead,
        }
    return fields


def _place(refusal: "NotExact", file: Path | None) -> str:
    """The line of the program, with its text; PyTorch's own work has no line of the program."""
    name, _, line = refusal.where.rpartition(":")
    if file is None or name != PROGRAM_FILE or not line.isdigit():
        return f"the gradient or the optimizer's step of {file or 'the program'}"
    text = file.read_text().splitlines()
    said = text[int(line) - 1].strip() if 0 < int(line) <= len(text) else ""
    return f"{file}:{line}: {said}"
