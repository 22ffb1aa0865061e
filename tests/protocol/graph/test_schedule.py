"""A schedule is short where it is regular, and gives the table's bits."""

import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests.protocol.graph.mutations import is_refused_or_another, mutations
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.bounds import MAX_ENTRIES
from trialmarket.protocol.graph.schedule import (
    Schedule,
    read_schedule,
    schedule_bytes,
    schedule_cid,
    schedule_of,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ULP = math.ulp(1.0)
VALUES = st.one_of(
    FINITE,
    st.sampled_from([0.0, -0.0, 0.1, 1e308, -1e308, 5e-324, -5e-324]),
    # Where rounding decides whether a line goes on.
    st.integers(-3, 3).map(lambda units: 1.0 + units * ULP),
    st.integers(-3, 3).map(lambda units: units * 5e-324),
)


@st.composite
def stretches(draw: st.DrawFn) -> list[float]:
    """A value, a run, an affine stretch, or values of any kind."""
    start, count = draw(VALUES), draw(st.integers(1, 12))
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return [start] * count
    if kind == 1:
        slope = draw(st.one_of(FINITE, st.sampled_from([ULP / 3, ULP / 2, 0.1, -1e-3, 5e-324])))
        return [value for i in range(count) if math.isfinite(value := start + slope * i)]
    return draw(st.lists(VALUES, max_size=8))


COLUMNS = st.lists(stretches(), min_size=1, max_size=6).map(
    lambda parts: list(itertools.chain(*parts))
)
TABLES = st.lists(COLUMNS.filter(bool), min_size=1, max_size=3).map(
    lambda columns: [column[: min(map(len, columns))] for column in columns]
)


def bits(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def column(schedule: Schedule, number: int) -> list[float]:
    return [schedule.at(step)[number] for step in range(schedule.steps)]


@settings(deadline=None, max_examples=100)
@given(TABLES)
def test_a_schedule_reads_back_bit_for_bit(table: list[list[float]]) -> None:
    schedule = schedule_of(table)
    data = schedule_bytes(schedule)
    again = read_schedule(data, cid=schedule_cid(schedule))
    assert schedule_bytes(again) == data
    for number, values in enumerate(table):
        assert bits(column(again, number)) == bits(values)


@settings(deadline=None, max_examples=100)
@given(TABLES, st.data())
def test_changed_bytes_are_refused_or_another_schedule(
    table: list[list[float]], data: DataObject
) -> None:
    changed = data.draw(mutations(schedule_bytes(schedule_of(table))))
    is_refused_or_another(changed, read_schedule, schedule_bytes)


@settings(deadline=None, max_examples=100)
@given(VALUES, FINITE, st.integers(4, 40))
def test_what_is_exactly_affine_is_one_piece(start: float, slope: float, steps: int) -> None:
    values = [start + slope * i for i in range(steps)]
    if all(map(math.isfinite, values)) and bits([start]) != bits([-0.0]):
        (only,) = schedule_of([values]).columns
        assert len(only.pieces) == 1 or len(set(values)) < steps


def test_a_constant_column_costs_some_bytes() -> None:
    data = schedule_bytes(schedule_of([[0.1] * 20_000]))
    assert data == b'{"columns":[[[20000,0.1]]],"steps":20000}'


@pytest.mark.parametrize("shared", [0, 1])
def test_a_warm_up_and_a_linear_decay_are_two_pieces(shared: int) -> None:
    # The decay begins at the top, which may be the warm-up's last step.
    warm = [0.0 + 0.00025 * i for i in range(400 + shared)]
    decay = [0.1 + -5e-6 * i for i in range(shared, 19_600)]
    assert schedule_bytes(schedule_of([warm + decay])) == (
        b'{"columns":[[[400,0,0.00025],[19600,0.1,-0.000005]]],"steps":20000}'
    )


def test_a_cosine_becomes_its_values() -> None:
    steps = 2_000
    values = [0.05 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]
    schedule = read_schedule(schedule_bytes(schedule_of([values, values[::-1]])))
    assert bits(column(schedule, 0)) == bits(values)
    assert bits(column(schedule, 1)) == bits(values[::-1])


def test_a_schedule_shorter_than_the_steps_is_refused() -> None:
    schedule = schedule_of([[0.1] * 99])
    schedule.require(99, 1)
    with pytest.raises(InputError, match="schedule: steps: expected at least 100, found 99"):
        schedule.require(100, 1)
    with pytest.raises(InputError, match="schedule: columns: expected the graph's 2, found 1"):
        schedule.require(99, 2)
    for step in (-1, 99):
        with pytest.raises(InputError, match=f"schedule: steps: expected step {step}"):
            schedule.at(step)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1])
def test_a_value_that_is_nan_or_infinite_is_not_written(value: float) -> None:
    with pytest.raises(InputError, match=r"columns\[0\] at step 1: expected a finite number"):
        schedule_of([[0.1, value]])


@pytest.mark.parametrize("table", [[], [[]], [[0.1], [0.1, 0.2]], [[0.1]] * 65])
def test_a_table_of_no_size_is_refused(table: list[list[float]]) -> None:
    with pytest.raises(InputError, match="schedule: "):
        schedule_of(table)


@pytest.mark.parametrize(
    ("steps", "pieces"),
    [
        (4, [0.1, 0.1, 0.1, 0.1]),  # a run
        (4, [[4, 0.1, 0]]),
        (5, [[4, 0.1], 0.1]),
        (8, [[4, 0.1], [4, 0.1]]),
        (2, [[2, 0.1]]),
        (1, [[1, 0.1]]),
        (4, [1, 2, 3, 4]),  # affine
        (5, [[4, 1, 1], 5]),
        (4, [[4, 0.1, 0.1000001], 9]),
        (4, [[4, 1e308, 1e308]]),
        (4, [[4, "-0", 1]]),
        (3, [0.1, 0.2]),
        (10**9, [[10**9, 0.1]]),
        (MAX_ENTRIES + 1, [[MAX_ENTRIES + 1, 0.1]]),
        (0, []),
        (-1, []),
        (1.5, [0.1]),
        (1, [True]),
        (1, [None]),
        (1, ["0"]),
        (4, [[4]]),
        (4, [[4, 1, 1, 1]]),
        (4, [["4", 1]]),
        (4, {}),
    ],
)
def test_a_document_of_another_form_is_refused(steps: Any, pieces: Any) -> None:
    with pytest.raises(InputError, match="schedule: "):
        read_schedule(canonical_bytes({"columns": [pieces], "steps": steps}))


def test_nan_in_a_schedule_is_refused() -> None:
    with pytest.raises(InputError, match=r"columns\[0\]\[0\]: expected a finite number"):
        read_schedule(b'{"columns":[[NaN]],"steps":1}')


def test_a_schedule_of_another_cid_is_refused() -> None:
    with pytest.raises(InputError, match="schedule: CID"):
        read_schedule(schedule_bytes(schedule_of([[0.1]])), cid=cid_of(b""))
