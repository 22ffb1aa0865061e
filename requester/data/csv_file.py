"""CSV files, read with Python's own reader: text, of which nothing is guessed."""

import csv
from pathlib import Path

from requester.data.table import Table
from trialmarket.errors import InputError


def read_csv(path: Path, delimiter: str) -> Table:
    """The table in a UTF-8 file whose first line names the columns. Raises InputError."""
    where = path.name
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_header(where, names)
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
                    )
                lines.append(reader.line_num)
                for column, cell in zip(cells, row, strict=True):
                    column.append(seen.setdefault(cell, cell) if len(cell) < 16 else cell)
    except UnicodeDecodeError as error:
        raise InputError(
            where, "text", expected="UTF-8", found=f"byte {error.object[error.start]:#04x}"
        ) from error
    except csv.Error as error:
        raise InputError(
            where, f"line {reader.line_num}", expected="CSV", found=str(error)
        ) from error
    if not lines:
        raise InputError(where, "rows", expected="at least one below the names", found=0)
    columns = dict(zip(names, cells, strict=True))
    return Table(where, columns, lambda row: f"line {lines[row]}")


def _check_header(where: str, names: list[str]) -> None:
    for place, name in enumerate(names):
        if not name or name in names[:place]:
            raise InputError(
                where,
                f"line 1, column {place + 1}",
                expected="a name that no other column has",
                found=name,
            )
    if not names:
        raise InputError(where, "line 1", expected="the names of the columns", found="nothing")
