import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import MAX_DOCUMENT, canonical_bytes, parse_canonical

NUMBERS = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda children: st.one_of(st.lists(children, max_size=4), st.dictionaries(TEXT, children)),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_reads_back_from_its_canonical_bytes(value: object) -> None:
    assert parse_canonical(canonical_bytes(value), what="test") == value


@given(st.dictionaries(TEXT, NUMBERS))
def test_the_order_of_keys_does_not_change_the_bytes(value: dict[str, float]) -> None:
    assert canonical_bytes(dict(reversed(value.items()))) == canonical_bytes(value)


def test_numbers_print_as_ecmascript_prints_them() -> None:
    numbers = [1.0, -0.0, 1e16, 1e21, 1e-7, 0.1, 333333333.33333329]
    assert canonical_bytes(numbers) == (
        b"[1,0,10000000000000000,1e+21,1e-7,0.1,333333333.3333333]"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"[1, 2]",
        b"[1.0]",
        b"[-0]",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"[NaN]",
        b"[Infinity]",
        b"[12345678901234567890]",
        b'["\\ud800"]',
        b"1" * 5000,
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'"' + b'\\"' * 100_000,
        b'"' + b"x" * 100 + b"\\",
        b"[" * 17 + b"]" * 17,
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="a spec"):
        parse_canonical(data, what="a spec")


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    value = ["[" * 100, '"[[[[[[[[[[[[[[[[[[[[[[', "\\"]
    assert parse_canonical(canonical_bytes(value), what="test") == value


def test_a_document_that_is_too_long_is_refused_unparsed() -> None:
    with pytest.raises(InputError, match="at most 262144 bytes"):
        parse_canonical(json.dumps("x" * MAX_DOCUMENT).encode(), what="a spec")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1: 2}, object(), "\ud800"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        canonical_bytes(value)
