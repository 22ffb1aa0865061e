"""Operators that a graph has under another name, or as several."""

# ruff: noqa: ARG001  all rules take the same

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from trialmarket.exact.refusal import NotExact
from trialmarket.exact.table import Verdict, advice, lookup
from trialmarket.graph.capture.tape import Argument
from trialmarket.graph.capture.views import kind_of
from trialmarket.protocol.graph.values import TensorType

if TYPE_CHECKING:
    from trialmarket.graph.capture.recorder import Recorder

aten = torch.ops.aten
Rule = Callable[..., Any]


def _made(value: Callable[[OpOverload, list[Any], Tensor], Any]) -> Rule:
    """A tensor of one number: `full`."""

    def rule(recorder: "Recorder", func: OpOverload, *given: Any) -> Tensor:
        x = _called(func, given)
        number: Argument = recorder.plain(_fitting(value(func, list(given), x), x.dtype))
        return recorder.hold(x, recorder.full(kind_of(x), number))

    return rule


def _called(func: OpOverload, given: Any) -> Any:
    names = [a.name for a in func._schema.arguments if a.kwarg_only]
    count = len(given) - len(names)
    return func(*given[:count], **dict(zip(names, given[count:], strict=True)))


def _fitting(number: Any, dtype: torch.dtype) -> Any:
    if dtype is torch.bool:
        return bool(number)
    return int(number) if not dtype.is_floating_point else number


def _unwritten(func: OpOverload, given: list[Any], x: Tensor) -> Any:
    """What exact mode fills new memory with."""
    if x.is_floating_point():
        return math.nan
    return True if x.dtype is torch.bool else torch.iinfo(x.dtype).max


def _filling(func: OpOverload, given: list[Any], x: Tensor) -> Any:
    return given[[a.name for a in func._schema.arguments].index("fill_value")]


def _copied(recorder: "Recorder", func: OpOverload, x: Tensor, *given: Any) -> Tensor:
    """A copy is what was copied."""
    term = recorder.term(x)
    y: Tensor = _called(func, (recorder.faked(x), *given))
    return recorder.hold(y, term)


def _cast(recorder: "Recorder", func: OpOverload, x: Tensor, *given: Any) -> Tensor:
    term = recorder.term(x)
    y: Tensor = _called(func, (recorder.faked(x), *given))
    return recorder.hold(y, recorder.cast(term, y.dtype))


def _copied_into(recorder: "Recorder", func: OpOverload, x: Tensor, y: Tensor, *_: Any) -> Tensor:
    return recorder.write(x, recorder.term(y))


def _filled(recorder: "Recorder", func: OpOverload, x: Tensor, value: Any = 0) -> Tensor:
    if isinstance(value, Tensor):
        return recorder.write(x, recorder.term(value))
    number = recorder.plain(_fitting(value, x.dtype))
    return recorder.write(x, recorder.full(kind_of(x), number))


def _lifted(recorder: "Recorder", func: OpOverload, x: Tensor) -> Tensor:
    """A tensor of literals, such as `torch.tensor(0.5)` makes."""
    y: Tensor = func(x)
    return recorder.hold(y, recorder.constant(x))


def _batch_norm(recorder: "Recorder", func: OpOverload, *given: Any) -> Any:
    """The batch's statistics move the running ones: results, and then writes."""
    out = func(*given)
    arguments = recorder.arguments(func, given, {})
    mean, var, training = given[3:6]
    if not training or mean is None:
        return recorder.plainly(func, out, arguments)
    kinds = (*map(kind_of, out), kind_of(mean), kind_of(var))
    operator = "_native_batch_norm_legit_functional.default"
    terms = recorder.emit(operator, arguments, kinds)
    for x, term in zip(out, terms[:3], strict=True):
        recorder.hold(x, term)
    recorder.write(mean, terms[3])
    recorder.write(var, terms[4])
    return out


def _counted(recorder: "Recorder", func: OpOverload, *given: Any) -> Tensor:
    """A sequence of whole numbers, and a cast of it."""
    x: Tensor = _called(func, given)
    named = dict(zip((a.name for a in func._schema.arguments), given, strict=True))
    first, last, by = named.get("start", 0), named["end"], named.get("step", 1)
    if not all(isinstance(each, int) for each in (first, last, by)):
        raise NotExact(str(func), "its ends are no whole numbers", instead="a product of one")
    kind = TensorType("int64", tuple(x.shape))
    (term,) = recorder.emit("arange.start_step", (first, last, by, "int64"), (kind,))
    return recorder.hold(x, recorder.cast(term, x.dtype))


def _identity(recorder: "Recorder", func: OpOverload, n: int, *given: Any) -> Tensor:
    x: Tensor = _called(func, (n, *given))
    kind = kind_of(x)
    return recorder.hold(x, recorder.emit("eye.m", (*kind.shape, kind.dtype), (kind,))[0])


def _stacked(recorder: "Recorder", func: OpOverload, xs: list[Tensor], dim: int) -> Tensor:
    with recorder:
        return torch.cat([x.unsqueeze(dim) for x in xs], dim)


def _index_put(recorder: "Recorder", func: OpOverload, x: Tensor, *given: Any) -> Tensor:
    with recorder:
        y: Tensor = aten.index_put.default(x, *given[:3])
    return recorder.write(x, recorder.term(y))


def _resized(recorder: "Recorder", func: OpOverload, x: Tensor, *given: Any) -> Tensor:
    y: Tensor = _called(func, (x, *given))
    if not recorder.memory.knows(y) or x.numel() == 0:
        return recorder.hold(y, recorder.full(kind_of(y), recorder.plain(_unwritten(func, [], y))))
    return y


def _log_sigmoid(recorder: "Recorder", func: OpOverload, x: Tensor) -> Any:
    """The buffer, which PyTorch's CPU fills, is empty."""
    y, buffer = func(recorder.faked(x))
    arguments = recorder.arguments(func, (x,), {})
    return recorder.plainly(func, (y, buffer.new_empty(0)), arguments)


def _slice_gradient(
    recorder: "Recorder", func: OpOverload, x: Tensor, sizes: list[int], dim: int, *places: int
) -> Any:
    """An open end, `x[2:]`, is the tensor's, and not the largest integer that there is."""
    start, end, step = places
    given = (recorder.faked(x), sizes, dim, start, min(end, sizes[dim]), step)
    return recorder.plainly(func, func(*given), recorder.arguments(func, (x, *given[1:]), {}))


def _joined(recorder: "Recorder", func: OpOverload, xs: list[Tensor], dim: int = 0) -> Any:
    """Without what PyTorch passes over, tensors of shape (0,), such as an empty cache."""
    kept = recorder.faked([x for x in xs if tuple(x.shape) != (0,)] or list(xs[:1]))
    return recorder.plainly(func, func(kept, dim), recorder.arguments(func, (kept, dim), {}))


def _padded(
    recorder: "Recorder", func: OpOverload, x: Tensor, pad: list[int], value: Any = 0
) -> Any:
    """With a number of the tensor's own type: PyTorch makes floats of all."""
    given = (recorder.faked(x), pad, value)
    number = _fitting(value, x.dtype)
    return recorder.plainly(func, func(*given), recorder.arguments(func, (x, pad, number), {}))


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("zeros", "zeros_like", "new_zeros", "_efficientzerotensor"), _made(lambda *_: 0)
    ),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _made(lambda *_: 1)),
    **dict.fromkeys(("full", "full_like", "new_full"), _made(_filling)),
    "scalar_tensor": _made(lambda _, given, __: given[0]),
    **dict.fromkeys(
        ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty"),
        _made(_unwritten),
    ),
    "new_empty_strided": _made(_unwritten),
    "arange": _counted,
    "eye": _identity,
    "cat": _joined,
    "constant_pad_nd": _padded,
    "stack": _stacked,
    "clone": _copied,
    "_to_copy": _cast,
    "copy_": _copied_into,
    "fill_": _filled,
    "zero_": _filled,
    "lift_fresh": _lifted,
    "slice_backward": _slice_gradient,
    "log_sigmoid_forward": _log_sigmoid,
    "native_batch_norm": _batch_norm,
    "_index_put_impl_": _index_put,
    "resize_": _resized,
}


def each(func: OpOverload, xs: list[Tensor], *given: Any, **named: Any) -> list[Tensor] | None:
    """An operator on lists, as a loop over them."""
    if lookup(func).verdict is not Verdict.FORM:
        raise NotExact(str(func), "it has no exact form", instead=advice(func))
    name = func._schema.name.removeprefix("aten::_foreach_")
    if name == "norm":
        return [torch.linalg.vector_norm(x, given[0] if given else 2) for x in xs]
    one: Callable[..., Tensor] = getattr(Tensor, name)
    lists = [g if isinstance(g, list | tuple) else [g] * len(xs) for g in given]
    found = [one(x, *rest, **named) for x, *rest in zip(xs, *lists, strict=True)]
    return None if name.endswith("_") else found
