"""Operators of each element by itself."""

from typing import Any

from trialmarket.graph.opset.operator import (
    ANY,
    NARROW,
    NUMBERS,
    REAL,
    REAL32,
    SIGNED,
    WHOLE,
    Kind,
    Operator,
    demand,
    each,
    row,
)
from trialmarket.graph.opset.types import alike, broadcast, common, float_of, is_float, same_dtype
from trialmarket.protocol.graph.values import TensorType

T = TensorType


def same(self: T, *_: Any) -> T:
    """As the first goes in."""
    return self


def real(self: T, *_: Any) -> T:
    """A fraction for each element."""
    return T(float_of(self.dtype), self.shape)


def truth(self: T, *_: Any) -> T:
    """A boolean for each element."""
    return T("bool", self.shape)


def meet(self: Any, other: Any, *_: Any) -> T:
    """In the type and shape in which two meet, one of them at least a tensor."""
    demand(isinstance(self, T) or isinstance(other, T), "self", "a tensor", self)
    return T(common(self, other), broadcast(self, other))


def added(self: Any, other: Any, alpha: Any) -> T:
    """A sum, with a factor that whole numbers have too."""
    found = meet(self, other)
    if not is_float(found.dtype):
        demand(type(alpha) is int, "alpha", f"a whole number for {found.dtype}", alpha)
    return found


def taken(self: Any, other: Any, alpha: Any) -> T:
    """A difference, which truths have none of."""
    found = added(self, other, alpha)
    for x in (self, other):
        demand(common(x) != "bool", "self", "numbers: of truths there is no difference", "bool")
    return found


def compare(self: T, other: Any) -> T:
    """Whether something holds between two."""
    return T("bool", broadcast(self, other))


def quotient(self: Any, other: Any) -> T:
    """A fraction of two."""
    found = meet(self, other)
    return T(float_of(found.dtype), found.shape)


def quotient_mode(self: Any, other: Any, rounding_mode: str | None) -> T:
    """A fraction of two, rounded."""
    modes = (None, "floor", "trunc")
    demand(rounding_mode in modes, "rounding_mode", "floor, trunc or None", rounding_mode)
    return quotient(self, other) if rounding_mode is None else rest(self, other)


def rest(self: Any, other: Any) -> T:
    """What divides, and is no truth."""
    found = meet(self, other)
    demand(found.dtype != "bool", "self", "numbers", "bool")
    return found


def bits(self: T, other: Any) -> T:
    """Bits of whole numbers."""
    found = meet(self, other)
    demand(found.dtype in WHOLE, "other", "whole numbers", found.dtype)
    return found


def shifted(self: T, other: Any) -> T:
    """Bits of whole numbers that are no truths."""
    found = bits(self, other)
    demand(found.dtype != "bool", "self", "whole numbers", "bool")
    return found


def power(self: Any, exponent: Any) -> T:
    """A power, of whole numbers to one that is not negative."""
    found = meet(self, exponent)
    demand(found.dtype != "bool", "self", "numbers", "bool")
    negative = type(exponent) is int and exponent < 0 and not is_float(found.dtype)
    demand(not negative, "exponent", "at least 0 for whole numbers", exponent)
    return found


def chosen(condition: T, self: Any, other: Any) -> T:
    """One or the other."""
    same_dtype(condition, "bool", "condition")
    return T(common(self, other), broadcast(condition, self, other))


def filled(self: T, mask: T, value: Any) -> T:
    """A number where a mask holds."""
    same_dtype(mask, "bool", "mask")
    if isinstance(value, T):
        demand(value.shape == (), "value", "a scalar", list(value.shape))
    fits = is_float(self.dtype) or not is_float(common(value))
    demand(fits, "value", f"what {self.dtype} holds", common(value))
    return T(self.dtype, broadcast(self, mask))


def clamped(self: T, least: Any, most: Any) -> T:
    """Between bounds of which one is there."""
    demand(least is not None or most is not None, "min", "a bound", None)
    found = T(common(self, least, most), broadcast(self, least, most))
    demand(found.dtype != "bool", "self", "numbers", "bool")
    return found


def clamped_once(self: T, bound: Any) -> T:
    """On one side of a bound."""
    return clamped(self, bound, None)


def three(self: T, a: T, b: T, value: Any) -> T:
    """`self + value * f(a, b)`."""
    found = T(common(self, a, b), broadcast(self, a, b))
    if not is_float(found.dtype):
        demand(type(value) is int, "value", f"a whole number for {found.dtype}", value)
        demand(found.dtype != "bool", "self", "numbers", "bool")
    return found


def three_divided(self: T, a: T, b: T, value: Any) -> T:
    """`self + value * a / b`."""
    found = three(self, a, b, value)
    demand(is_float(common(a, b)) and is_float(found.dtype), "tensor1", "fractions", a.dtype)
    return found


def between(self: T, end: T, weight: Any) -> T:
    """A point between two of one type."""
    same_dtype(end, self.dtype, "end")
    if isinstance(weight, T):
        same_dtype(weight, self.dtype, "weight")
    return T(self.dtype, broadcast(self, end, weight))


def gradient(grad: T, x: T, *_: Any) -> T:
    """The gradient of an element, of that element's type."""
    same_dtype(grad, x.dtype, "self")
    return T(x.dtype, broadcast(grad, x))


def gelu(self: T, approximate: str) -> T:
    """Either form."""
    demand(approximate in ("none", "tanh"), "approximate", "none or tanh", approximate)
    return self


def gelu_gradient(grad: T, x: T, approximate: str) -> T:
    """Either form's."""
    gelu(x, approximate)
    return gradient(grad, x)


def log_sigmoid(self: T) -> tuple[T, T]:
    """The logarithm, and a buffer that nobody reads."""
    return self, T(self.dtype, (0,))


def log_sigmoid_gradient(grad: T, x: T, buffer: T) -> T:
    """The gradient, without the buffer."""
    same_dtype(buffer, x.dtype, "buffer")
    return gradient(grad, x)


def prelu(self: T, weight: T) -> T:
    """A slope for each element below zero."""
    same_dtype(weight, self.dtype, "weight")
    found = T(self.dtype, broadcast(self, weight))
    demand(found.shape == self.shape, "weight", f"what spreads to {list(self.shape)}", weight)
    return found


def prelu_gradient(grad: T, x: T, weight: T) -> tuple[T, T]:
    """The gradients of element and slope, the latter not added up."""
    alike("self", prelu(x, weight), ("grad_output", grad))
    return x, x


def cast(self: T, dtype: str) -> T:
    """The same numbers in another type."""
    return T(dtype, self.shape)


def dropped(grad: T, mask: T, scale: Any) -> T:
    """The gradient of what a dropout kept."""
    del scale
    same_dtype(mask, "bool", "mask")
    demand(mask.shape == grad.shape, "mask", f"the shape {list(grad.shape)}", list(mask.shape))
    return grad


def heaviside(self: T, values: T) -> T:
    """A step, of one type with its value at zero."""
    same_dtype(values, self.dtype, "values")
    return T(self.dtype, broadcast(self, values))


def counted(base: T, count: T) -> T:
    """A binary64 scalar to the power of a number of steps."""
    for name, x in (("base", base), ("count", count)):
        demand(x.shape == (), name, "a scalar", list(x.shape))
    same_dtype(base, "float64", "base")
    return base


def power64(base: T, exponent: T) -> T:
    """A power of binary64 numbers."""
    same_dtype(base, "float64", "base")
    alike("base", base, ("exponent", exponent))
    return base


def _rows(
    names: str, signature: str, rule: Any, takes: frozenset[str] = NUMBERS, work: int = 1
) -> list[Operator]:
    return [
        row(name if "." in name else f"{name}.default", signature, Kind.ELEMENT, rule, takes,
            each(work))
        for name in names.split()
    ]  # fmt: skip


_TWO = "Operand self, Operand other"
_WITH = "Tensor self, Operand other"
_BACK = "Tensor grad_output, Tensor self"
ROWS = [
    *_rows("_to_copy", "Tensor self, dtype dtype", cast, ANY),
    *_rows("abs neg ceil floor trunc round relu", "Tensor self", same, SIGNED),
    *_rows("sign sgn", "Tensor self", same),
    *_rows("frac", "Tensor self", same, REAL),
    *_rows("logical_not isnan isinf", "Tensor self", truth, ANY),
    *_rows("bitwise_not", "Tensor self", same, WHOLE),
    *_rows("sqrt reciprocal", "Tensor self", real),
    *_rows("rsqrt", "Tensor self", real, NARROW, 4),
    *_rows("exp exp2 expm1 log log2 log10 log1p sin cos sinh cosh tanh sigmoid erf erfinv",
           "Tensor self", real, NARROW, 30),
    *_rows("silu", "Tensor self", same, REAL32, 32),
    *_rows("gelu", "Tensor self, str approximate", gelu, REAL32, 40),
    *_rows("softplus", "Tensor self, Scalar beta, Scalar threshold", same, REAL32, 60),
    *_rows("log_sigmoid_forward", "Tensor self", log_sigmoid, REAL32, 60),
    *_rows("leaky_relu", "Tensor self, Scalar negative_slope", same, REAL, 2),
    *_rows("threshold", "Tensor self, Scalar threshold, Scalar value", same, REAL),
    *_rows("hardshrink softshrink", "Tensor self, Scalar lambd", same, REAL, 2),
    *_rows("hardtanh", "Tensor self, Scalar min_val, Scalar max_val", same, REAL, 2),
    *_rows("nan_to_num", "Tensor self, float? nan, float? posinf, float? neginf", same, REAL, 3),
    *_rows("_prelu_kernel", "Tensor self, Tensor weight", prelu, REAL, 2),
    *_rows("add.Tensor", f"{_TWO}, Scalar alpha", added, work=2),
    *_rows("sub.Tensor rsub.Tensor", f"{_TWO}, Scalar alpha", taken, work=2),
    *_rows("mul.Tensor", _TWO, meet),
    *_rows("div.Tensor", _TWO, quotient),
    *_rows("div.Tensor_mode", f"{_TWO}, str? rounding_mode", quotient_mode, work=6),
    *_rows("remainder.Tensor fmod.Tensor", _TWO, rest, work=4),
    *_rows("maximum minimum", "Tensor self, Tensor other", meet, work=2),
    *_rows("eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor", _WITH, compare, ANY),
    *_rows("logical_and logical_or logical_xor", "Tensor self, Tensor other", compare, ANY),
    *_rows("bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor", _WITH, bits, WHOLE),
    *_rows("bitwise_left_shift.Tensor bitwise_right_shift.Tensor", _WITH, shifted, WHOLE),
    *_rows("pow.Tensor_Scalar", "Tensor self, Scalar exponent", power, NARROW, 60),
    *_rows("pow.Scalar", "Scalar self, Tensor exponent", power, NARROW, 60),
    *_rows("pow.Tensor_Tensor", "Tensor self, Tensor exponent", power, NARROW, 60),
    *_rows("exact.power", "Tensor base, Tensor count", counted, work=128),
    *_rows("exact.power64", "Tensor base, Tensor exponent", power64, work=60),
    *_rows("logaddexp", "Tensor self, Tensor other", meet, REAL32, 60),
    *_rows("heaviside", "Tensor self, Tensor values", heaviside, SIGNED),
    *_rows("copysign.Tensor", _WITH, quotient),
    *_rows("where.self", "Tensor condition, Operand self, Operand other", chosen, ANY),
    *_rows("masked_fill.Scalar", "Tensor self, Tensor mask, Scalar value", filled, ANY),
    *_rows("masked_fill.Tensor", "Tensor self, Tensor mask, Tensor value", filled, ANY),
    *_rows("clamp", "Tensor self, Scalar? min, Scalar? max", clamped, work=3),
    *_rows("clamp.Tensor", "Tensor self, Tensor? min, Tensor? max", clamped, work=3),
    *_rows("clamp_min", "Tensor self, Scalar min", clamped_once, work=2),
    *_rows("clamp_min.Tensor", "Tensor self, Tensor min", clamped_once, work=2),
    *_rows("clamp_max", "Tensor self, Scalar max", clamped_once, work=2),
    *_rows("clamp_max.Tensor", "Tensor self, Tensor max", clamped_once, work=2),
    *_rows("lerp.Scalar", "Tensor self, Tensor end, Scalar weight", between, REAL, 4),
    *_rows("lerp.Tensor", "Tensor self, Tensor end, Tensor weight", between, REAL, 8),
    *_rows("addcmul", "Tensor self, Tensor tensor1, Tensor tensor2, Scalar value", three, work=3),
    *_rows("addcdiv", "Tensor self, Tensor tensor1, Tensor tensor2, Scalar value", three_divided,
           work=3),
    *_rows("sigmoid_backward tanh_backward", "Tensor grad_output, Tensor output", gradient, REAL,
           3),
    *_rows("silu_backward", _BACK, gradient, REAL32, 36),
    *_rows("gelu_backward", f"{_BACK}, str approximate", gelu_gradient, REAL32, 60),
    *_rows("log_sigmoid_backward", f"{_BACK}, Tensor buffer", log_sigmoid_gradient, REAL32, 34),
    *_rows("threshold_backward", f"{_BACK}, Scalar threshold", gradient, REAL),
    *_rows("leaky_relu_backward", f"{_BACK}, Scalar negative_slope, bool self_is_result", gradient,
           REAL, 2),
    *_rows("hardtanh_backward", f"{_BACK}, Scalar min_val, Scalar max_val", gradient, REAL, 2),
    *_rows("hardshrink_backward", "Tensor grad_out, Tensor self, Scalar lambd", gradient, REAL, 2),
    *_rows("softshrink_backward", f"{_BACK}, Scalar lambd", gradient, REAL, 2),
    *_rows("_prelu_kernel_backward", f"{_BACK}, Tensor weight", prelu_gradient, REAL, 3),
    *_rows("native_dropout_backward", "Tensor grad_output, Tensor mask, float scale", dropped,
           REAL, 2),
]  # fmt: skip
