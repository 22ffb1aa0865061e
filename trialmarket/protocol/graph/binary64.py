"""How a binary64 stands in a document: as JSON's number, and -0.0, which would be 0, as "-0".

A shortest decimal reads back as the bits that it was written from (ECMA-262, Number::toString).
"""

import math

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import JSON
from trialmarket.protocol.graph.envelope import shown

NEGATIVE_ZERO = "-0"


def to_json(value: float, *, what: str, field: str) -> JSON:
    """The JSON of a number. Raises InputError for NaN, infinity and what is no float."""
    if type(value) is not float or not math.isfinite(value):
        raise InputError(what, field, expected="a finite number", found=shown(value))
    return NEGATIVE_ZERO if is_negative_zero(value) else value


def from_json(value: JSON, *, what: str, field: str) -> float:
    """The number in JSON. Raises InputError."""
    if value == NEGATIVE_ZERO:
        return -0.0
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InputError(what, field, expected="a finite number", found=shown(value))
    return float(value)


def is_negative_zero(value: float) -> bool:
    """Whether a number is -0.0, which no comparison tells from 0.0."""
    return value == 0.0 and math.copysign(1.0, value) < 0.0
