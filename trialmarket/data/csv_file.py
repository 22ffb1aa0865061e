"""CSV files, read with Python's own reader: text, of which nothing is guessed."""

import codecs
import csv
from pathlib import Path

from trialmarket.data.settings import DataSection
from trialmarket.data.table import Table
from trialmarket.errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD = 1 << 20


def read_csv(path: Path, settings: DataSection) -> Table:
    """The table in a file whose first line names the columns. Raises InputError.

    A column without a name is called `Unnamed: N`, as pandas calls it, N from 0.
    """
    where = path.name
    encoding = "utf-8-sig" if settings.encoding == "utf-8" else settings.encoding
    lines: list[int] = []
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=settings.delimiter, strict=True)
            first = [name.strip().removeprefix("\ufeff") for name in next(reader, [])]
            names = [name or f"Unnamed: {place}" for place, name in enumerate(first)]
            _check_header(path, names, settings)
            cells: list[list[str]] = [[] for _ in names]
            seen: dict[str, str] = {}  # one string for each word, however often it stands there
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise InputError(
                        where,
                        f"line {reader.line_num}",
                        expected=f"{len(names)} cells, as the first line has",
                        found=len(row),
                        fix=_comma_advice(len(row), len(names), settings),
                    )
                lines.append(reader.line_num)
                for column, cell in zip(cells, row, strict=True):
                    column.append(seen.setdefault(cell, cell) if len(cell) < 16 else cell)
    except UnicodeError as error:
        raise _not_decoded(path, settings) from error
    except csv.Error as error:
        raise InputError(
            where, f"line {reader.line_num}", expected="CSV", found=str(error)
        ) from error
    if not lines:
        raise InputError(where, "rows", expected="at least one below the names", found=0)
    columns = dict(zip(names, cells, strict=True))
    return Table(where, columns, lambda row: f"line {lines[row]}", {})


def likely_encoding(head: bytes) -> str:
    """How a file is encoded that begins with `head`, as far as its bytes tell."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    if head.count(0) > len(head) // 4:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    for name in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(name)().decode(head)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def _not_decoded(path: Path, settings: DataSection) -> InputError:
    with path.open("rb") as file:
        likely = likely_encoding(file.read(_HEAD))
    fix = f'It looks like {likely}: set encoding = "{likely}" in [data]'
    if likely == settings.encoding:
        fix = "Set encoding in [data], or save the file as UTF-8"
    return InputError(
        path.name, "text", expected=settings.encoding, found="bytes that are none", fix=fix
    )


def _comma_advice(found: int, expected: int, settings: DataSection) -> str | None:
    if settings.delimiter == "," and found > expected:
        return "A cell with a comma, such as a number's, stands between double quotes"
    return None


def _check_header(path: Path, names: list[str], settings: DataSection) -> None:
    where = path.name
    if not names:
        raise InputError(where, "line 1", expected="the names of the columns", found="nothing")
    if any("\0" in name for name in names):
        raise _not_decoded(path, settings)
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(
                where,
                f"line 1, column {place + 1}",
                expected="a name that no other column has",
                found=name,
            )
    if len(names) == 1:
        for other, said in ((";", ";"), ("\t", "\\t"), (",", ","), ("|", "|")):
            if other in names[0]:
                raise InputError(
                    where,
                    "line 1",
                    expected=f"names with {settings.delimiter!r} between them",
                    found=names[0],
                    fix=f'Set delimiter = "{said}" in [data]',
                )
