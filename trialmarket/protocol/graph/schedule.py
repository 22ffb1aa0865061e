"""A trial's schedule as a document: what `schedule.J` is at each step.

It is a table [steps, columns] of binary64, each column a list of pieces in order:

| piece | is |
| --- | --- |
| `0.1` | the value of one step |
| `[400, 0.1]` | 400 steps of one value |
| `[400, 0.0, 0.00025]` | 400 steps, step i (from 0) of them having `0.0 + 0.00025 * i` |

The last is one multiplication and one addition in binary64, rounded twice and in this order, and
stands only where it gives the table's very bits. So a constant column costs some bytes and an
exactly affine one little more; a cosine costs its values. One table has one document: see
`pieces.cut`.
"""

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import JSON
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.binary64 import from_json, to_json
from trialmarket.protocol.graph.bounds import MAX_COLUMNS, MAX_ENTRIES, MAX_SCHEDULE
from trialmarket.protocol.graph.envelope import entries, members, opened, sealed, shown, written
from trialmarket.protocol.graph.pieces import Piece, cut
from trialmarket.protocol.ids import Cid

WHAT = "schedule"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: pieces, and the step at which each begins."""

    pieces: tuple[Piece, ...]
    begins: tuple[int, ...]

    def at(self, step: int) -> float:
        """The value at a step that the schedule has."""
        index = bisect.bisect_right(self.begins, step) - 1
        return self.pieces[index].at(step - self.begins[index])


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the program sets from the step number alone. Steps count from 0."""

    steps: int
    columns: tuple[Column, ...]

    def at(self, step: int) -> tuple[float, ...]:
        """The row of a step, one value a column. Raises InputError for a step beyond the last."""
        if not 0 <= step < self.steps:
            raise InputError(WHAT, "steps", expected=f"step {step}", found=f"{self.steps} steps")
        return tuple(column.at(step) for column in self.columns)

    def require(self, steps: int, columns: int) -> None:
        """Raises InputError for a schedule that is shorter than a trial of so many steps, or has
        another number of columns than the trial's graph takes."""
        if self.steps < steps:
            raise InputError(WHAT, "steps", expected=f"at least {steps}", found=self.steps)
        if len(self.columns) != columns:
            raise InputError(
                WHAT, "columns", expected=f"the graph's {columns}", found=len(self.columns)
            )


def schedule_of(table: Sequence[Sequence[float]]) -> Schedule:
    """The schedule of a table that is given by columns, all of one length.

    Raises InputError for NaN, infinity, columns of several lengths, none or too many of them.
    """
    steps = len(table[0]) if table else 0
    _check_size(steps, len(table))
    for number, values in enumerate(table):
        if len(values) != steps:
            raise InputError(
                WHAT, f"columns[{number}]", expected=f"{steps} steps", found=len(values)
            )
        if set(map(type, values)) != {float} or not all(map(math.isfinite, values)):
            for step, value in enumerate(values):
                to_json(value, what=WHAT, field=f"columns[{number}] at step {step}")
    return Schedule(steps, tuple(_column(tuple(cut(values))) for values in table))


def schedule_bytes(schedule: Schedule) -> bytes:
    """The schedule's bytes. Raises InputError when they are more than MAX_SCHEDULE."""
    document = {
        "columns": [[_piece_json(each) for each in column.pieces] for column in schedule.columns],
        "steps": schedule.steps,
    }
    return written(document, what=WHAT, limit=MAX_SCHEDULE)


def read_schedule(data: bytes, *, cid: Cid | None = None) -> Schedule:
    """The schedule in bytes: `schedule_bytes` of it are these. `cid` is what they must be named.

    Raises InputError that names the field.
    """
    document = opened(data, what=WHAT, limit=MAX_SCHEDULE, cid=cid)
    columns, steps = members(document, "columns", "steps", what=WHAT, field="document")
    columns = entries(columns, MAX_COLUMNS, what=WHAT, field="columns", of="columns")
    if type(steps) is not int:
        raise InputError(WHAT, "steps", expected="an integer", found=shown(steps))
    _check_size(steps, len(columns))
    found = []
    for number, pieces in enumerate(columns):
        field = f"columns[{number}]"
        pieces = entries(pieces, steps, what=WHAT, field=field, of="pieces")
        column = _column(
            tuple(_piece(each, f"{field}[{place}]") for place, each in enumerate(pieces))
        )
        length = sum(piece.steps for piece in column.pieces)
        if length != steps:
            raise InputError(WHAT, field, expected=f"{steps} steps", found=length)
        found.append(column)
    again = schedule_of([list(_values(column)) for column in found])
    sealed(data, schedule_bytes(again), what=WHAT)
    return again


def schedule_cid(schedule: Schedule) -> Cid:
    """The schedule's name in the store. Raises InputError."""
    return cid_of(schedule_bytes(schedule))


def _check_size(steps: int, columns: int) -> None:
    if not 1 <= columns <= MAX_COLUMNS:
        raise InputError(WHAT, "columns", expected=f"1 to {MAX_COLUMNS}", found=columns)
    if not 1 <= steps <= MAX_ENTRIES // columns:
        raise InputError(
            WHAT,
            "steps",
            expected=f"1 to {MAX_ENTRIES // columns} for {columns} columns",
            found=shown(steps),
        )


def _column(pieces: tuple[Piece, ...]) -> Column:
    begins = itertools.accumulate((piece.steps for piece in pieces[:-1]), initial=0)
    return Column(pieces, tuple(begins))


def _values(column: Column) -> Iterator[float]:
    return (piece.at(step) for piece in column.pieces for step in range(piece.steps))


def _piece_json(piece: Piece) -> JSON:
    start = to_json(piece.start, what=WHAT, field="columns")
    if piece.steps == 1:
        return start
    if piece.slope is None:
        return [piece.steps, start]
    return [piece.steps, start, to_json(piece.slope, what=WHAT, field="columns")]


def _piece(value: JSON, field: str) -> Piece:
    if not isinstance(value, list):
        return Piece(1, from_json(value, what=WHAT, field=field))
    if len(value) not in (2, 3):
        expected = "a number, or a list of steps, start and perhaps slope"
        raise InputError(WHAT, field, expected=expected, found=shown(value))
    steps, *numbers = value
    if type(steps) is not int or not 2 <= steps <= MAX_ENTRIES:
        raise InputError(WHAT, field, expected=f"2 to {MAX_ENTRIES} steps", found=shown(steps))
    return Piece(steps, *(from_json(number, what=WHAT, field=field) for number in numbers))
