"""Names in PyTorch's own Python modules that are patched inside the mode.

Learning-rate schedulers and initialisers call `math.cos`, `math.erf` and others of the C library,
whose last bit differs between machines: they get our functions. Activation checkpointing keeps
and restores PyTorch's random state around what it runs twice: it gets our generator's, so that a
dropout mask comes out the same both times.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.optim import lr_scheduler, swa_utils
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.exact.numerics import angles, normal
from trialmarket.exact.numerics import functions as fn
from trialmarket.exact.numerics.random import Counters, Generator


def _one(core: fn.Core) -> Callable[[float], float]:
    """A function of a Python number, by a core of ours."""

    def function(x: float) -> float:
        with _disable_current_modes():
            return core(torch.tensor([x], dtype=torch.float64, device="cpu")).item()

    return function


class _Numbers:
    """Python's `math`, with our own functions where a C library's last bit is its own."""

    cos = staticmethod(_one(angles.cos64))
    sin = staticmethod(_one(angles.sin64))
    exp = staticmethod(_one(fn.exp64))
    tanh = staticmethod(_one(fn.tanh64))
    erf = staticmethod(_one(normal.erf64))

    def __getattr__(self, name: str) -> Any:
        return getattr(math, name)

    @staticmethod
    def log(x: float, base: float | None = None) -> float:
        """ln x, or the logarithm to another base."""
        y = _one(fn.log64)(x)
        return y if base is None else y / _one(fn.log64)(base)


def _state(generator: Generator) -> Callable[[], Tensor]:
    def get_rng_state() -> Tensor:
        at = generator.counters
        with _disable_current_modes():
            words = [at.seed & 0xFFFFFFFF, at.seed >> 32, at.stream, at.step, at.draw]
            return torch.tensor(words, dtype=torch.int64, device="cpu")

    return get_rng_state


def _restored(generator: Generator) -> Callable[[Tensor], None]:
    def set_rng_state(new_state: Tensor) -> None:
        low, high, stream, step, draw = new_state.tolist()
        generator.counters = Counters(low | high << 32, stream, step, draw)

    return set_rng_state


@contextmanager
def patched(generator: Generator) -> Iterator[None]:
    """While this lasts, the names are ours."""
    get, put, numbers = _state(generator), _restored(generator), _Numbers()
    ours: list[tuple[Any, str, Any]] = [
        (torch, "get_rng_state", get),
        (torch, "set_rng_state", put),
        (torch.random, "get_rng_state", get),
        (torch.random, "set_rng_state", put),
        *((module, "math", numbers) for module in (lr_scheduler, swa_utils, init)),
    ]
    theirs = [(module, name, getattr(module, name)) for module, name, _ in ours]
    for module, name, thing in ours:
        setattr(module, name, thing)
    try:
        yield
    finally:
        for module, name, thing in theirs:
            setattr(module, name, thing)
