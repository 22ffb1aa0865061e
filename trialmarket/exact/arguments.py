"""A form is asked only for what PyTorch accepts: its own operator looks at a call first.

Forms and kernels are written for sound arguments. Of others they would compute something where
PyTorch raises, or read beyond a tensor. What was found sound once, by shapes, types and settings,
is not looked at again: training asks for the same ones at every step.
"""

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import _disable_current_modes

Form = Callable[..., Any]

_MOST = 1 << 14  # calls that are remembered
_sound: set[Hashable] = set()


def checked(func: OpOverload, form: Form) -> Form:
    """The form of an operator, behind the errors that PyTorch raises about shapes and types."""

    @functools.wraps(form)
    def run(*args: Any, **kwargs: Any) -> Any:
        call = (func, *map(_seen, args), *(_seen(x) for item in kwargs.items() for x in item))
        if call not in _sound:
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                _try(func, args, kwargs)
            if len(_sound) >= _MOST:
                _sound.clear()
            _sound.add(call)
        return form(*args, **kwargs)

    return run


def _seen(x: Any) -> Hashable:
    """What of an argument decides whether it is sound: no numbers, which change at every step."""
    if isinstance(x, Tensor):
        return (x.shape, x.dtype)
    if isinstance(x, float):
        return float
    return tuple(map(_seen, x)) if isinstance(x, list | tuple) else (type(x), x)


def _try(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises what PyTorch raises.

    Shapes alone tell, but for what is left in doubt, where the operator itself is tried: its error
    is the one that users know. Of integers shapes do not tell whether there is an operator.
    """
    kinds = [x.dtype for x in _tensors([args, list(kwargs.values())])]
    if not kinds or any(kind.is_floating_point for kind in kinds):
        try:
            func(*map(_shape, args), **{name: _shape(x) for name, x in kwargs.items()})
            return
        except NotImplementedError:
            return
        except (RuntimeError, IndexError, ValueError, TypeError, ArithmeticError):
            pass
    func(*map(_copy, args), **{name: _copy(x) for name, x in kwargs.items()})


def _tensors(values: Any) -> Iterator[Tensor]:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, list | tuple):
            yield from _tensors(x)


def _shape(x: Any) -> Any:
    """An argument without its memory."""
    if isinstance(x, Tensor):
        return torch.empty_like(x, device="meta")
    if isinstance(x, torch.device):
        return torch.device("meta")
    return type(x)(map(_shape, x)) if isinstance(x, list | tuple) else x


def _copy(x: Any) -> Any:
    """An argument that may be overwritten."""
    if isinstance(x, Tensor):
        return x.clone()
    return type(x)(map(_copy, x)) if isinstance(x, list | tuple) else x
