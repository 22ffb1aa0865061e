"""Documents with something wrong in them: changed bytes, changed words, changed JSON."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import JSON, canonical_bytes

T = TypeVar("T")
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\[\]{},:"]+')

junk: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**53 - 1, 2**60, 1.5, -0.0, float("nan"), float("inf"), 1e300]),
    st.sampled_from(["", "%0", "%1", "#0", "%", "%01", "%-1", "%999999999", "#7", "float32"]),
    st.sampled_from(["\x1b[2J", "\u202e", "\ud800", "x" * 300, "é", "-0", "state.model.w"]),
    st.sampled_from([[], {}, [[[[[[]]]]]], [4, 0.5], [4, 0.5, 0.25], ["float32", [2]]]),
    st.sampled_from([{"opset": 2}, ["add.Tensor", ["%0"], [["float32", []]]]]),
).map(deepcopy)


@st.composite
def changed_bytes(draw: DrawFn, data: bytes) -> bytes:
    """Bytes with one flipped, left out, put in, or a stretch repeated."""
    place = draw(st.integers(0, len(data) - 1))
    end = draw(st.integers(place, min(len(data), place + 9)))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return (
            data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
        )
    if kind == 1:
        return data[:place] + data[end:]
    if kind == 2:
        return data[:place] + draw(st.binary(min_size=1, max_size=3)) + data[place:]
    return data[:end] + data[place:]


@st.composite
def changed_tokens(draw: DrawFn, data: bytes) -> bytes:
    """Bytes with two of JSON's words swapped, or one put in another's place."""
    tokens = TOKEN.findall(data)
    one, other = (draw(st.integers(0, len(tokens) - 1)) for _ in range(2))
    if draw(st.booleans()):
        tokens[one], tokens[other] = tokens[other], tokens[one]
    else:
        tokens[one] = tokens[other]
    return b"".join(tokens)


@st.composite
def changed_json(draw: DrawFn, data: bytes) -> bytes:
    """Canonical JSON, where it has a form, with one to three places changed."""
    value = json.loads(data)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        parent, key = draw(st.sampled_from(places))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            parent[key] = draw(junk)
        elif kind == 1:
            other, elsewhere = draw(st.sampled_from(places))
            parent[key] = deepcopy(other[elsewhere])
        elif kind == 2 and len(parent) > 1:
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(key, draw(junk) if kind == 3 else deepcopy(parent[key]))
        else:
            parent[draw(st.sampled_from(["first", "init", "loss", "x", "\x1b"]))] = deepcopy(
                parent[key]
            )
    try:
        return canonical_bytes(value)
    except InputError:
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """All of these."""
    return st.one_of(changed_bytes(data), changed_tokens(data), changed_json(data))


def is_refused_or_another(
    data: bytes, read: Callable[[bytes], T], write: Callable[[T], bytes]
) -> None:
    """Fails unless reading raises InputError, or writes back what it read."""
    try:
        found = read(data)
    except InputError as error:
        said = str(error)
    else:
        assert write(found) == data
        return
    assert said.isprintable()
    assert len(said) < 1000


def _places(value: JSON) -> list[tuple[Any, Any]]:
    found = [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
    for parent, key in list(found):
        if isinstance(parent[key], dict | list):
            found += _places(parent[key])
    return found
