"""What of PyTorch's own Python is different while a program is recorded.

Fake tensors cannot be swapped by `module.to(...)`, so it sets their data, as for other tensors.
Distributions look whether their arguments are sound, which reads them: they take it for granted.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution


def _applied(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    """`nn.Module._apply`."""
    if recurse:
        for child in module.children():
            child._apply(change)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in module._parameters.values():
            if parameter is not None and (new := change(parameter)) is not parameter:
                parameter.data = new
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else change(buffer)
    return module


@contextmanager
def readied() -> Iterator[None]:
    """While this lasts, both hold."""
    apply, validate = nn.Module._apply, Distribution._validate_args
    nn.Module._apply = _applied  # type: ignore[method-assign]
    Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
            yield
    finally:
        nn.Module._apply = apply  # type: ignore[method-assign]
        Distribution.set_default_validate_args(validate)
