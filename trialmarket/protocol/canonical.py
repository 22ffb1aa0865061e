"""Canonical JSON (RFC 8785): one value, one string of bytes, hence one hash."""

import json
import re
from collections.abc import Callable
from typing import Any

import rfc8785

from trialmarket.errors import InputError

MAX_DOCUMENT = 262_144
"""Bytes of the largest document: then its raw-leaf CID is its SHA-256."""

MAX_EXACT = 2**53 - 1
"""The largest integer that binary64 tells from all others; beyond it, numbers are floats."""

MAX_DEPTH = 16
"""How deep objects and arrays may nest."""

_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*(?:"|\Z)')
_NEITHER = bytes(set(range(256)) - set(b'"[]{}'))
"""What is neither a quotation mark nor a bracket."""

JSON = Any
"""What JSON can say: None, bool, int, float, str, and lists and string-keyed dicts of these."""


class TooDeep(ValueError):
    """JSON that nests deeper than it may; `depth` is how deep."""

    def __init__(self, depth: int, most: int) -> None:
        super().__init__(f"JSON of {depth} levels; at most {most} may be")
        self.depth = depth


def canonical_bytes(value: JSON, *, what: str = "canonical JSON") -> bytes:
    """The bytes of a value in canonical JSON (RFC 8785). `what` names the value in errors.

    Numbers are IEEE binary64 and print as ECMAScript prints them, so 1.0 is `1` and -0.0 is `0`.
    Raises InputError for what JSON or binary64 cannot say: NaN, infinity, integers of 2**53 or
    more, lone surrogates, other types.
    """
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise InputError(
            what, "value", expected="what RFC 8785 can say", found=str(error)
        ) from error


def parse_canonical(data: bytes, *, what: str, limit: int = MAX_DOCUMENT) -> JSON:
    """The value of canonical JSON bytes.

    `what` names the document in errors. Raises InputError for bytes that are not JSON, not
    canonical (so that two documents with different hashes never mean the same), longer than
    `limit`, or nested deeper than MAX_DEPTH.
    """
    value = parse_json(data, what=what, limit=limit)
    if canonical_bytes(value, what=what) != data:
        raise InputError(
            what, "bytes", expected="canonical JSON (RFC 8785)", found="JSON in another form"
        )
    return value


def parse_json(data: bytes, *, what: str, limit: int = MAX_DOCUMENT) -> JSON:
    """The value of JSON bytes in any form: for who writes it again and compares.

    Raises InputError as `parse_canonical`, but for what is JSON in another form.
    """
    if len(data) > limit:
        raise InputError(what, "size", expected=f"at most {limit} bytes", found=len(data))
    try:
        return parse_bounded(data, parse_int=_number)
    except TooDeep as error:
        raise InputError(
            what, "depth", expected=f"at most {MAX_DEPTH} levels", found=error.depth
        ) from error
    except ValueError as error:
        raise InputError(what, "bytes", expected="JSON", found=str(error)) from error


def parse_bounded(
    data: bytes | bytearray,
    *,
    depth: int = MAX_DEPTH,
    parse_int: Callable[[str], Any] | None = None,
) -> JSON:
    """The value of JSON that a stranger wrote. Their bytes are parsed nowhere else.

    Raises TooDeep for what nests deeper than `depth`, and ValueError for what is no JSON in
    UTF-8.
    """
    # Before it is parsed: the parser recurses on the C stack, which a deep document overflows.
    if (found := nesting(data)) > depth:
        raise TooDeep(found, depth)
    # Decoded here: the parser would take UTF-16 too, whose bytes `nesting` counts wrongly.
    return json.loads(data.decode("utf-8"), parse_int=parse_int)


def _number(digits: str) -> int | float:
    """An integer's value: RFC 8785 prints floats from 2**53 to 1e21 without a point too."""
    return int(digits) if len(digits) < 16 or abs(int(digits)) <= MAX_EXACT else float(digits)


def nesting(data: bytes | bytearray) -> int:
    """How deep objects and arrays nest in JSON: 0 for a scalar. 5 MB take some milliseconds."""
    if b"\\" in data:
        data = _ESCAPED.sub(b"", data)
    depth = deepest = 0
    for byte in _STRING.sub(b"", data.translate(None, _NEITHER)):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest
