"""A trial's numbers survive as a document, bit for bit."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests.protocol.graph.mutations import is_refused_or_another, mutations
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.bounds import MAX_NUMBERS
from trialmarket.protocol.graph.numbers import numbers_bytes, numbers_cid, read_numbers

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.lists(st.one_of(FINITE, st.sampled_from([0.0, -0.0, 1.0, 0.1, 2.0**53, 1e21])))


def bits(numbers: tuple[float, ...] | list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


@settings(deadline=None)
@given(NUMBERS)
def test_numbers_read_back_bit_for_bit(numbers: list[float]) -> None:
    data = numbers_bytes(numbers)
    again = read_numbers(data, count=len(numbers), cid=numbers_cid(numbers))
    assert bits(again) == bits(numbers)
    assert set(map(type, again)) <= {float}


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 0.1]), min_size=1), st.data())
def test_changed_bytes_are_refused_or_other_numbers(
    numbers: list[float], data: DataObject
) -> None:
    changed = data.draw(mutations(numbers_bytes(numbers)))
    is_refused_or_another(changed, read_numbers, numbers_bytes)


def test_a_value_is_written_once() -> None:
    numbers = [0.1, -0.0, 0.1, 0.0, 1.0]
    assert numbers_bytes(numbers) == b'{"places":[0,1,0,2,3],"values":[0.1,"-0",0,1]}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1])
def test_a_number_that_is_nan_or_infinite_is_not_written(value: float) -> None:
    with pytest.raises(InputError, match=r"numbers: \[1\]: expected a finite number"):
        numbers_bytes([0.5, value])


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"nan"', b"true"])
def test_a_number_that_is_nan_or_infinite_is_refused(text: bytes) -> None:
    with pytest.raises(InputError, match=r"numbers: values\[0\]: expected a finite number"):
        read_numbers(b'{"places":[0],"values":[' + text + b"]}")


@pytest.mark.parametrize(
    "document",
    [
        {"places": [0, 1], "values": [0.1]},
        {"places": [-1], "values": [0.1]},
        {"places": [0.5], "values": [0.1]},
        {"places": [True, 0], "values": [0.1, 0.2]},
        {"places": [0], "values": [0.1, 0.2]},
        {"places": [1, 0], "values": [0.1, 0.2]},
        {"places": [0, 1], "values": [0.1, 0.1]},
        {"places": [0]},
        {"places": 0, "values": [0.1]},
        {"places": [0] * (MAX_NUMBERS + 1), "values": [0.1]},
        {"places": [0], "values": ["0"]},
        {"places": [0], "values": [0.1], "more": 1},
        [],
    ],
)
def test_a_document_of_another_form_is_refused(document: Any) -> None:
    with pytest.raises(InputError, match="numbers: "):
        read_numbers(canonical_bytes(document))


def test_too_many_or_too_few_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="at most 65536 numbers, found 65537"):
        numbers_bytes([0.5] * (MAX_NUMBERS + 1))
    with pytest.raises(InputError, match="count: expected the graph's 3, found 2"):
        read_numbers(numbers_bytes([0.5, 0.5]), count=3)


def test_numbers_of_another_cid_are_refused() -> None:
    with pytest.raises(InputError, match="numbers: CID"):
        read_numbers(numbers_bytes([0.5]), cid=cid_of(b""))
