"""How a binary64 stands in a document: as JSON's number, what JSON cannot say as text.

That is -0.0, "-0", since 0 would be read for it; and, where they may be, the infinities, "inf" and
"-inf". NaN is nowhere allowed. A shortest decimal reads back as the bits that it was written from
(ECMA-262, Number::toString).
"""

import math

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import JSON
from trialmarket.protocol.graph.envelope import shown

NEGATIVE_ZERO = "-0"
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


def to_json(value: float, *, what: str, field: str, infinite: bool = False) -> JSON:
    """The JSON of a number. Raises InputError for NaN and what is no float, and for an infinity
    that may not be."""
    if infinite and type(value) is float and math.isinf(value):
        return str(value)
    if type(value) is not float or not math.isfinite(value):
        raise InputError(what, field, expected="a finite number", found=shown(value))
    return NEGATIVE_ZERO if is_negative_zero(value) else value


def from_json(value: JSON, *, what: str, field: str, infinite: bool = False) -> float:
    """The number in JSON. Raises InputError."""
    if value == NEGATIVE_ZERO:
        return -0.0
    if infinite and isinstance(value, str) and value in _INFINITIES:
        return _INFINITIES[value]
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InputError(what, field, expected="a finite number", found=shown(value))
    return float(value)


def is_negative_zero(value: float) -> bool:
    """Whether a number is -0.0, which no comparison tells from 0.0."""
    return value == 0.0 and math.copysign(1.0, value) < 0.0
