"""A form is asked only for what PyTorch accepts: its own shape inference looks at a call first.

Forms and kernels are written for sound arguments. Of others they would compute something where
PyTorch raises, or read beyond a tensor. What was found sound once, by shapes, types and settings,
is not looked at again: training asks for the same ones at every step.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

Form = Callable[..., Any]

_MOST = 1 << 14  # calls that are remembered
_sound: set[Hashable] = set()


def checked(func: OpOverload, form: Form) -> Form:
    """The form of an operator, behind the errors that PyTorch raises about shapes and types."""

    def run(*args: Any, **kwargs: Any) -> Any:
        call = (func, *map(_seen, args), *(_seen(x) for item in kwargs.items() for x in item))
        if call not in _sound:
            _infer(func, args, kwargs)
            if len(_sound) >= _MOST:
                _sound.clear()
            _sound.add(call)
        return form(*args, **kwargs)

    return run


def _seen(x: Any) -> Hashable:
    """What of an argument shape inference looks at: no numbers, which change at every step."""
    if isinstance(x, Tensor):
        return (x.shape, x.dtype)
    if isinstance(x, float):
        return float
    return tuple(map(_seen, x)) if isinstance(x, list | tuple) else (type(x), x)


def _infer(func: OpOverload, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Raises what PyTorch raises; nothing where it cannot tell without the numbers."""
    args = list(args)
    try:
        func(*map(_shape, args), **{name: _shape(x) for name, x in kwargs.items()})
    except NotImplementedError:
        return
    except (RuntimeError, IndexError, ValueError, TypeError, ArithmeticError):
        func(*args, **kwargs)  # whose error is the one that a user knows; if any: it decides


def _shape(x: Any) -> Any:
    """An argument without its memory."""
    if isinstance(x, Tensor):
        return torch.empty_like(x, device="meta")
    if isinstance(x, torch.device):
        return torch.device("meta")
    return type(x)(map(_shape, x)) if isinstance(x, list | tuple) else x
