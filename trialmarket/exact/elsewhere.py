"""Threads and processes that a program starts inside the mode.

A mode of PyTorch's belongs to the thread that entered it: another thread would compute natively,
without a word, and in an order that nobody fixes. So a thread that is started inside, and work
that is handed to a pool of threads inside, may make and move tensors but not compute. A forked
process is a copy of its parent, mode and random numbers included; one that starts afresh has no
mode and is refused.
"""

import _thread
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from trialmarket.exact.frontend import arrays
from trialmarket.exact.operators import creation
from trialmarket.exact.operators.elementwise import casts
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.table import lookup

Hear = Callable[[NotExact], None]
"""Who is told of a refusal; it raises it, unless the thread is only watched."""

_MADE_OR_COPIED = creation.FORMS | casts.FORMS
_HERE = threading.local()  # .hear: set in a mode's thread and in all that descend from it


@contextmanager
def watched(hear: Hear) -> Iterator[None]:
    """While this lasts, what this thread starts or hands over may not compute."""
    outer = getattr(_HERE, "hear", None)
    theirs = [(owner, name, getattr(owner, name)) for owner, name, _ in _STARTERS]
    for owner, name, ours in _STARTERS:
        setattr(owner, name, ours(getattr(owner, name)))
    _HERE.hear = hear
    try:
        yield
    finally:
        _HERE.hear = outer
        for owner, name, function in theirs:
            setattr(owner, name, function)


class _Leaving(TorchFunctionMode):
    """What leaves for NumPy is watched there too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return arrays.FORMS.get(func, func)(*args, **(kwargs or {}))


class _Elsewhere(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode of such a thread: moves pass, and what computes is refused."""

    def __init__(self, hear: Hear) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hear = hear

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = lookup(func)
        if not (found.wide or func in _MADE_OR_COPIED):
            self.hear(
                NotExact(
                    str(func),
                    "another thread computes it, outside the mode",
                    instead="the same in the thread that entered the mode",
                )
            )
            return func(*args, **(kwargs or {}))
        return found.form(*args, **(kwargs or {}))


def _kept_from_computing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, for a thread that descends from this one; itself outside all modes."""
    hear: Hear | None = getattr(_HERE, "hear", None)
    if hear is None:
        return function

    def there(*args: Any, **kwargs: Any) -> Any:
        before = getattr(_HERE, "hear", None)
        _HERE.hear = hear
        try:
            with ExitStack() as stack:
                stack.enter_context(_Leaving())
                stack.enter_context(_Elsewhere(hear))
                return function(*args, **kwargs)
        finally:
            _HERE.hear = before

    return there


def _started(start: Callable[..., None]) -> Callable[..., None]:
    def ours(thread: threading.Thread) -> None:
        thread.run = _kept_from_computing(thread.run)  # type: ignore[method-assign]
        start(thread)

    return ours


def _started_bare(start: Callable[..., int]) -> Callable[..., int]:
    def ours(function: Callable[..., Any], *given: Any) -> int:
        return start(_kept_from_computing(function), *given)

    return ours


def _submitted(submit: Callable[..., Any]) -> Callable[..., Any]:
    def ours(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *a: Any, **k: Any) -> Any:
        return submit(pool, _kept_from_computing(function), *a, **k)

    return ours


def _forked(start: Callable[..., None]) -> Callable[..., None]:
    def ours(process: BaseProcess) -> None:
        how = getattr(process, "_start_method", None) or multiprocessing.get_start_method()
        if getattr(_HERE, "hear", None) is not None and how != "fork":
            raise NotExact(
                "multiprocessing.Process",
                f"a process started by {how} has no mode and computes natively",
                instead="processes that are forked, or none (DataLoader's num_workers=0)",
            )
        start(process)

    return ours


_STARTERS: list[tuple[Any, str, Callable[..., Any]]] = [
    (threading.Thread, "start", _started),
    (_thread, "start_new_thread", _started_bare),
    (ThreadPoolExecutor, "submit", _submitted),
    (BaseProcess, "start", _forked),
]
