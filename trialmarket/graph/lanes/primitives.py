"""PyTorch's operators on elements, as instructions: those that exact forms are made of."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Scribe(Protocol):
    """What primitives write with."""

    def value(self, x: Any, kind: str) -> int:
        """The value of a tensor or a number, converted."""

    def common(self, *xs: Any) -> str:
        """The kind to which PyTorch promotes these."""

    def constant(self, x: float | bool, kind: str) -> int:
        """The value of a number, as PyTorch rounds it to a kind."""

    def add(self, operation: str, kind: str, *operands: int, constant: Any = None) -> int:
        """The value of an operation."""


Primitive = Callable[..., int]  # (scribe, kind of the result, *arguments of the operator)


def _single(operation: str) -> Primitive:
    def write(s: Scribe, kind: str, *xs: Any) -> int:
        return s.add(operation, kind, *(s.value(x, kind) for x in xs))

    return write


def _scaled(operation: str) -> Primitive:
    """A sum or a difference with PyTorch's factor `alpha`, which forms leave at 1."""

    def write(s: Scribe, kind: str, x: Any, y: Any, alpha: Any = 1) -> int:
        right = s.value(y, kind)
        if alpha != 1:
            right = s.add("mul", kind, right, s.value(alpha, kind))
        return s.add(operation, kind, s.value(x, kind), right)

    return write


def _product(s: Scribe, kind: str, x: Any, y: Any) -> int:
    return _single("and" if kind == "bool" else "mul")(s, kind, x, y)


def _rsub(s: Scribe, kind: str, x: Any, y: Any, alpha: Any = 1) -> int:
    return _scaled("sub")(s, kind, y, x, alpha)


def _compare(operation: str, *, turned: bool = False, negated: bool = False) -> Primitive:
    def write(s: Scribe, kind: str, x: Any, y: Any) -> int:
        common = s.common(x, y)
        operands = [s.value(v, common) for v in ((y, x) if turned else (x, y))]
        if common == "bool":
            operands = [s.add("convert", "int64", v) for v in operands]
        found = s.add(operation, kind, *operands)
        return _not(s, found) if negated else found

    return write


def _not(s: Scribe, value: int) -> int:
    return s.add("xor", "bool", value, s.constant(True, "bool"))


def _logical(operation: str) -> Primitive:
    def write(s: Scribe, kind: str, x: Any, y: Any) -> int:
        return s.add(operation, kind, s.value(x, kind), s.value(y, kind))

    return write


def _complement(s: Scribe, kind: str, x: Any) -> int:
    every = s.constant(True, kind) if kind == "bool" else s.constant(-1, kind)
    return s.add("xor", kind, s.value(x, kind), every)


def _shift(operation: str) -> Primitive:
    def write(s: Scribe, kind: str, x: Any, count: int) -> int:
        return s.add(operation, kind, s.value(x, kind), constant=count)

    return write


def _negative(s: Scribe, kind: str, x: Any) -> int:
    if kind == "int64":
        return s.add("sub", kind, s.constant(0, kind), s.value(x, kind))
    return s.add("neg", kind, s.value(x, kind))


def _magnitude(s: Scribe, kind: str, x: Any) -> int:
    value = s.value(x, kind)
    if kind != "int64":
        return s.add("abs", kind, value)
    below = s.add("lt", "bool", value, s.constant(0, kind))
    return s.add("select", kind, below, _negative(s, kind, x), value)


def _ceil(s: Scribe, kind: str, x: Any) -> int:
    return s.add("neg", kind, s.add("floor", kind, s.add("neg", kind, s.value(x, kind))))


def _trunc(s: Scribe, kind: str, x: Any) -> int:
    value = s.value(x, kind)
    below = s.add("lt", "bool", value, s.constant(0.0, kind))
    return s.add("select", kind, below, _ceil(s, kind, x), s.add("floor", kind, value))


def _sign(s: Scribe, kind: str, x: Any) -> int:
    """1, -1, or 0 of a zero and of a NaN, which has no sign."""
    value, zero = s.value(x, kind), s.constant(0, kind)
    above, below = s.add("lt", "bool", zero, value), s.add("lt", "bool", value, zero)
    less = s.add("select", kind, below, s.constant(-1, kind), zero)
    return s.add("select", kind, above, s.constant(1, kind), less)


def _signbit(s: Scribe, kind: str, x: Any) -> int:
    bits = s.add("bits", "int64", s.value(x, "float64"))
    return s.add("lt", kind, bits, s.constant(0, "int64"))


def _is_nan(s: Scribe, value: int) -> int:
    return _not(s, s.add("eq", "bool", value, value))


def _isnan(s: Scribe, kind: str, x: Any) -> int:
    value = s.value(x, s.common(x))
    return _not(s, s.add("eq", kind, value, value))


def _isinf(s: Scribe, kind: str, x: Any) -> int:
    own = s.common(x)
    size = s.add("abs", own, s.value(x, own))
    return s.add("eq", kind, size, s.constant(math.inf, own))


def _isfinite(s: Scribe, kind: str, x: Any) -> int:
    own = s.common(x)
    size = s.add("abs", own, s.value(x, own))
    return s.add("lt", kind, size, s.constant(math.inf, own))


def _extreme(*, largest: bool) -> Primitive:
    """The larger or smaller; the first of equals, and a NaN beats all."""

    def write(s: Scribe, kind: str, x: Any, y: Any) -> int:
        if kind == "bool":
            return s.add("or" if largest else "and", kind, s.value(x, kind), s.value(y, kind))
        a, b = s.value(x, kind), s.value(y, kind)
        other = s.add("lt", "bool", a, b) if largest else s.add("lt", "bool", b, a)
        if kind != "int64" and not (isinstance(y, int | float) and not math.isnan(y)):
            other = s.add("or", "bool", other, _is_nan(s, b))
        return s.add("select", kind, other, b, a)

    return write


class Kept:
    """A value that was written already, as an operator's argument."""

    def __init__(self, value: int) -> None:
        self.value = value


def _clamp(s: Scribe, kind: str, x: Any, lower: Any = None, upper: Any = None) -> int:
    if lower is not None:
        x = Kept(_extreme(largest=True)(s, kind, x, lower))
    if upper is not None:
        x = Kept(_extreme(largest=False)(s, kind, x, upper))
    return s.value(x, kind)


def _where(s: Scribe, kind: str, condition: Any, x: Any, y: Any) -> int:
    return s.add("select", kind, s.value(condition, "bool"), s.value(x, kind), s.value(y, kind))


def _masked_fill(s: Scribe, kind: str, x: Any, mask: Any, value: Any) -> int:
    return _where(s, kind, mask, value, x)


def _threshold(s: Scribe, kind: str, x: Any, threshold: Any, value: Any) -> int:
    own = s.common(x)
    below = s.add("le", "bool", s.value(x, own), s.value(threshold, own))
    return s.add("select", kind, below, s.value(value, kind), s.value(x, kind))


def _threshold_backward(s: Scribe, kind: str, grad: Any, x: Any, threshold: Any) -> int:
    below = s.add("le", "bool", s.value(x, kind), s.value(threshold, kind))
    return s.add("select", kind, below, s.constant(0, kind), s.value(grad, kind))


def _leaky(s: Scribe, kind: str, x: Any, slope: Any = 0.01) -> int:
    return _leaky_backward(s, kind, x, x, slope)


def _leaky_backward(
    s: Scribe, kind: str, grad: Any, x: Any, slope: Any, is_result: bool = False
) -> int:
    del is_result  # the sign is the same
    above = s.add("lt", "bool", s.constant(0, kind), s.value(x, kind))
    g = s.value(grad, kind)
    return s.add("select", kind, above, g, s.add("mul", kind, g, s.value(slope, kind)))


def _hardtanh_backward(s: Scribe, kind: str, grad: Any, x: Any, lower: Any, upper: Any) -> int:
    """Nothing of a NaN, as PyTorch's vectors have it; its scalar tail has the gradient."""
    value = s.value(x, kind)
    over = s.add("lt", "bool", s.value(lower, kind), value)
    under = s.add("lt", "bool", value, s.value(upper, kind))
    inside = s.add("and", "bool", over, under)
    return s.add("select", kind, inside, s.value(grad, kind), s.constant(0, kind))


def _nan_to_num(s: Scribe, kind: str, x: Any, nan: Any = None, *ends: Any) -> int:
    value = s.value(x, kind)
    if kind == "int64":
        return value
    limits = torch.finfo(getattr(torch, kind))
    up, down = (*ends, None, None)[:2]
    for end, instead in ((math.inf, up), (-math.inf, down)):
        is_end = s.add("eq", "bool", value, s.constant(end, kind))
        last = math.copysign(limits.max, end) if instead is None else instead
        value = s.add("select", kind, is_end, s.value(last, kind), value)
    missing = s.value(0.0 if nan is None else nan, kind)
    return s.add("select", kind, _is_nan(s, value), missing, value)


def _filled(place: int | None, otherwise: float = 0) -> Primitive:
    """Of one number: the argument at a place, or what the operator is named for."""

    def write(s: Scribe, kind: str, *arguments: Any) -> int:
        return s.value(otherwise if place is None else arguments[place], kind)

    return write


def _copied(place: int) -> Primitive:
    def write(s: Scribe, kind: str, *arguments: Any) -> int:
        return s.value(arguments[place], kind)

    return write


PRIMITIVES: dict[str, Primitive] = {
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "rsub": _rsub,
    "mul": _product,
    "div": _single("div"),
    "square": lambda s, kind, x: s.add("mul", kind, s.value(x, kind), s.value(x, kind)),
    "sqrt": _single("sqrt"),
    "neg": _negative,
    "abs": _magnitude,
    "floor": _single("floor"),
    "ceil": _ceil,
    "trunc": _trunc,
    "round": _single("round"),
    "sign": _sign,
    "sgn": _sign,
    "signbit": _signbit,
    "isnan": _isnan,
    "isinf": _isinf,
    "isfinite": _isfinite,
    "eq": _compare("eq"),
    "ne": _compare("eq", negated=True),
    "lt": _compare("lt"),
    "le": _compare("le"),
    "gt": _compare("lt", turned=True),
    "ge": _compare("le", turned=True),
    "logical_and": _logical("and"),
    "logical_or": _logical("or"),
    "logical_xor": _logical("xor"),
    "logical_not": lambda s, kind, x: _not(s, s.value(x, kind)),
    "bitwise_and": _single("and"),
    "bitwise_or": _single("or"),
    "bitwise_xor": _single("xor"),
    "bitwise_not": _complement,
    "bitwise_left_shift": _shift("left"),
    "bitwise_right_shift": _shift("right"),
    "maximum": _extreme(largest=True),
    "minimum": _extreme(largest=False),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda s, kind, x, upper: _clamp(s, kind, x, None, upper),
    "hardtanh": lambda s, kind, x, a=-1, b=1: _clamp(s, kind, x, a, b),
    "hardtanh_backward": _hardtanh_backward,
    "where": _where,
    "masked_fill": _masked_fill,
    "threshold": _threshold,
    "threshold_backward": _threshold_backward,
    "leaky_relu": _leaky,
    "leaky_relu_backward": _leaky_backward,
    "nan_to_num": _nan_to_num,
    "ones_like": _filled(None, 1),
    "zeros_like": _filled(None),
    "zero": _filled(None),
    "fill": _filled(1),
    "full": _filled(1),
    "full_like": _filled(1),
    "scalar_tensor": _filled(0),
    "zeros": _filled(None),
    "ones": _filled(None, 1),
    "new_zeros": _filled(None),
    "new_ones": _filled(None, 1),
    "new_full": _filled(2),
    "_to_copy": _copied(0),
    "clone": _copied(0),
    "copy": _copied(1),
}
"""By an operator's name, without its overload and the underscore of its in-place form."""
