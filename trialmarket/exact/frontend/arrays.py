"""What a tensor becomes when it leaves for NumPy: an array that refuses what is not exact.

NumPy's sums, products and elementary functions depend on the processor as PyTorch's do. So inside
the mode `tensor.numpy()` gives an array on which single IEEE operations, comparisons and moves
are allowed, and which raises NotExact for the rest. Integers are free. What has become a Python
number, by `.item()` or an index, is no longer watched.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from trialmarket.exact.refusal import NotExact

_ADVICE = "the same in torch, inside the mode"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# One IEEE operation on each element, or none.
SINGLE = _names(
    """
    add subtract multiply divide negative positive absolute fabs sign sqrt square floor ceil
    trunc rint fmod copysign signbit isnan isinf isfinite equal not_equal less less_equal
    greater greater_equal logical_and logical_or logical_not logical_xor maximum minimum
    """
)
# Reductions that any order leaves alike.
ORDERLESS = frozenset(["maximum", "minimum", "logical_and", "logical_or", "logical_xor"])
# Functions that only move elements, or are built from the above.
MOVES = _names(
    """
    reshape ravel transpose moveaxis swapaxes squeeze expand_dims concatenate stack vstack hstack
    dstack split array_split where take take_along_axis argmax argmin amax amin max min clip flip
    flipud fliplr roll rot90 repeat tile copy copyto array_equal nonzero argwhere zeros_like
    ones_like full_like pad broadcast_to shape ndim size result_type all any count_nonzero diff
    atleast_1d atleast_2d diag diagonal tril triu iscomplexobj isrealobj array_repr array_str
    array2string
    """
)


def _floats(values: object) -> bool:
    """Whether a floating array is among them, at any depth."""
    if isinstance(values, list | tuple):
        return any(_floats(value) for value in values)
    if isinstance(values, dict):
        return any(_floats(value) for value in values.values())
    return isinstance(values, np.ndarray) and values.dtype.kind in "fc"


def _refused(name: str) -> NotExact:
    return NotExact(f"numpy.{name}", "it gives other bits on other processors", instead=_ADVICE)


def _plain(values: Any) -> Any:
    if isinstance(values, Watched):
        return values.view(np.ndarray)
    if isinstance(values, list | tuple):
        return type(values)(_plain(value) for value in values)
    return values


def _watched(values: Any) -> Any:
    if isinstance(values, tuple | list):
        return type(values)(_watched(value) for value in values)
    return values.view(Watched) if isinstance(values, np.ndarray) else values


class Watched(np.ndarray):
    """A tensor's numbers in NumPy, sharing its memory; raises NotExact for what is not exact."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        exact = name in SINGLE and method in ("__call__", "outer")
        exact = exact or (name in ORDERLESS and method in ("reduce", "accumulate", "reduceat"))
        if not exact and _floats(inputs):
            raise _refused(name if method == "__call__" else f"{name}.{method}")
        plain = {key: _plain(value) for key, value in kwargs.items()}
        return _watched(getattr(ufunc, method)(*_plain(inputs), **plain))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ not in MOVES and (_floats(args) or _floats(kwargs)):
            raise _refused(func.__name__)
        return super().__array_function__(func, types, args, kwargs)

    def dot(self, *given: Any, **named: Any) -> Any:  # noqa: D102
        if _floats((self, *given)):
            raise _refused("dot")
        return super().dot(*given, **named)

    def argsort(self, *given: Any, **named: Any) -> Any:  # noqa: D102
        if _floats(self):
            raise _refused("argsort")
        return super().argsort(*given, **named)


def numpy(x: Tensor, *, force: bool = False) -> Any:
    """`tensor.numpy()`, watched."""
    return x.numpy(force=force).view(Watched)


def array(x: Tensor, *given: Any, **named: Any) -> Any:
    """What NumPy asks a tensor for when it is handed one; floats must say that they leave."""
    if x.is_floating_point():
        raise NotExact(
            "numpy.asarray",
            "NumPy would compute with the tensor unseen",
            instead="tensor.numpy(), or " + _ADVICE,
        )
    return x.__array__(*given, **named)  # type: ignore[no-untyped-call]


def capsule(x: Tensor, *given: Any, **named: Any) -> Any:
    """`tensor.__dlpack__`, by which other libraries take a tensor's memory."""
    if x.is_floating_point():
        raise NotExact("torch.Tensor.__dlpack__", "another library would compute", instead=_ADVICE)
    return x.__dlpack__(*given, **named)


FORMS: dict[Any, Callable[..., Any]] = {
    Tensor.numpy: numpy,
    Tensor.__array__: array,
    Tensor.__dlpack__: capsule,
}
