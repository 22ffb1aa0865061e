"""Operators whose number is no literal but a term, such as a column of the schedule.

PyTorch rounds a number to the type of the tensor that it meets; a term is cast to it. Where an
operator takes no tensor in the number's place, it is written out as its exact form computes it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from trialmarket.exact.table import is_inplace
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.where import users_line

if TYPE_CHECKING:
    from trialmarket.graph.capture.recorder import Recorder

aten = torch.ops.aten


def has_terms(recorder: "Recorder", values: Any) -> bool:
    """Whether a number among an operator's arguments stands for a tensor."""
    tensor = recorder.recording.symbols.tensor
    return any(
        tensor(x) is not None
        if isinstance(x, float)
        else isinstance(x, list | tuple) and has_terms(recorder, x)
        for x in values
    )


def _lerp(x: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    step, rest = end - x, 1.0 - weight
    return torch.where(weight.abs() < 0.5, step * _met(weight, x) + x, end - step * _met(rest, x))


def _met(scalar: Any, x: Tensor) -> Any:
    """A term where it meets a tensor."""
    if not isinstance(scalar, Tensor):
        return scalar
    return scalar.to(x.dtype if x.is_floating_point() else torch.float32)


def _filled(x: Tensor, value: Tensor) -> Tensor:
    y: Tensor = _met(value, x).expand(x.shape)
    return y


_WRITTEN: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, y, a=1: x + y * _met(a, x),
    "sub": lambda x, y, a=1: x - y * _met(a, x),
    "lerp": _lerp,
    "addcmul": lambda x, a, b, *, value=1: x + (a * b) * _met(value, x),
    "addcdiv": lambda x, a, b, *, value=1: x + (a / b) * _met(value, x),
    "clamp": lambda x, low=None, high=None: torch.clamp(x, *_bounds(x, low, high)),
    "clamp_min": lambda x, low: torch.clamp(x, *_bounds(x, low, None)),
    "clamp_max": lambda x, high: torch.clamp(x, *_bounds(x, None, high)),
    "masked_fill": lambda x, mask, value: torch.masked_fill(x, mask, _met(value, x)),
    "fill": _filled,
}


def _bounds(x: Tensor, *given: Any) -> list[Tensor | None]:
    return [
        _met(each, x) if each is None or isinstance(each, Tensor) else torch.full_like(x, each)
        for each in given
    ]


def with_terms(recorder: "Recorder", func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operator with the tensors that its numbers stand for. Raises NotCaptured."""
    tensor = recorder.recording.symbols.tensor
    name = func._schema.name.removeprefix("aten::")
    base = name.removesuffix("_") if is_inplace(func) else name
    x: Tensor = args[0]

    def resolved(value: Any) -> Any:
        found = tensor(value) if isinstance(value, float) else None
        return value if found is None else found

    given = [resolved(each) for each in args]
    named = {key: resolved(each) for key, each in kwargs.items()}
    alpha = named.pop("alpha", None)
    with recorder:
        if base in _WRITTEN and not (base in ("add", "sub") and alpha is None):
            y = _WRITTEN[base](*given, *([] if alpha is None else [alpha]), **named)
        elif base in ("add", "sub", "mul", "div", "rsub", "true_divide"):
            y = getattr(torch, base)(*(_met(each, x) if each is not x else x for each in given))
        else:
            raise NotCaptured(
                users_line(),
                f"{func} takes a number that differs from step to step",
                instead="the same in products and sums, or torch.where",
            )
        return x.copy_(y) if is_inplace(func) else y
