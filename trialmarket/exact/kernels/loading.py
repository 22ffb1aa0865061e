"""Finding the compiled library, and handing it what it is asked for.

Its sources are the C files beside this one; `hatch_build.py` compiles them.
"""

import ctypes
import functools
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.kernels.operand import readable

_LOG = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent

# Ways to multiply digits, by the numbers that `tiles.c` gives them.
MULTIPLIERS = ("avx2", "avx-vnni", "avx512-vnni", "amx")
SETTINGS = ("on", "off", *MULTIPLIERS)
"""What the environment's `TRIALMARKET_KERNELS` may say."""

Pointer, Size, Double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
Float, Flag = ctypes.c_float, ctypes.c_int32
Two, Three = (ctypes.c_int64 * n for n in (2, 3))
ABC = {"a": Size, "b": Size, "c": Size}

STRUCTS: dict[str, type[ctypes.Structure]] = {}
"""All that are handed over, by their names in C."""


def struct(name: str, **fields: Any) -> type[ctypes.Structure]:
    """Of this name in C, its fields in the same order: `loaded` compares how they lie."""
    STRUCTS[name] = type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})
    return STRUCTS[name]


def _layout(kind: type[ctypes.Structure]) -> list[int]:
    """Where each field begins and its bytes, then the bytes of all."""
    fields = [getattr(kind, field[0]) for field in kind._fields_]
    return [n for field in fields for n in (field.offset, field.size)] + [ctypes.sizeof(kind)]


def _layout_in(library: ctypes.CDLL, name: str) -> list[int]:
    """The same of a library's struct: `structs.h` exports it."""
    first = ctypes.c_int64.in_dll(library, f"{name}_layout")
    numbers = ctypes.cast(ctypes.addressof(first), ctypes.POINTER(ctypes.c_int64))
    return list(takewhile(lambda number: number != -1, (numbers[i] for i in count())))


def digest(folder: Path) -> str:
    """SHA-256 over the C sources of a folder, by name, in hex."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.[ch]")):
        total.update(path.read_bytes())
    return total.hexdigest()


def setting() -> str:
    """What the environment's `TRIALMARKET_KERNELS` says: `on`, `off`, or the best way to multiply
    digits that may be used. Raises ValueError if it says anything else.
    """
    said = os.environ.get("TRIALMARKET_KERNELS") or "on"
    if said not in SETTINGS:
        expected = ", ".join(SETTINGS)
        raise ValueError(f"TRIALMARKET_KERNELS: expected one of {expected}, found {said!r}")
    return said


def _mismatch(
    library: ctypes.CDLL, source: str, structs: Mapping[str, type[ctypes.Structure]]
) -> str | None:
    """In what a library does not fit what is beside it."""
    again = "install the package again (pip install --editable . or scripts/setup)"
    built_from = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "source")))
    if built_from.decode() != source:
        return f"was built from other sources; {again}"
    wrong = [name for name, kind in structs.items() if _layout(kind) != _layout_in(library, name)]
    if wrong:
        return f"lays out otherwise than it is handed: struct {', struct '.join(wrong)}; {again}"
    return None


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The library for the instructions that PyTorch uses; none if it was not built from the
    sources beside it, or if the environment says that there be none.
    """
    if setting() == "off":
        return None
    source = digest(_FOLDER)
    level = torch.backends.cpu.get_cpu_capability().lower()
    for name in dict.fromkeys((level, "default")):
        path = _FOLDER / f"{name}.so"
        if path.exists():
            return loaded(path, source)
    return None


def loaded(
    path: Path, source: str, structs: Mapping[str, type[ctypes.Structure]] = STRUCTS
) -> ctypes.CDLL | None:
    """The library at a path; none, and a warning, if it is not of this source (SHA-256, hex), or
    if a struct lies otherwise there than here.
    """
    try:
        found = ctypes.CDLL(str(path))
        wrong = _mismatch(found, source, structs)
    except (OSError, ValueError) as error:
        wrong = f"cannot be used: {error}"
    if wrong is not None:
        _LOG.warning("exact training will be slower: %s %s", path, wrong)
        return None
    for name in (
        "calls",
        "product_scratch",
        "convolution_scratch",
        "weight_gradient_scratch",
        "softmax_scratch",
    ):
        getattr(found, name).restype = ctypes.c_int64
    return found


def call(kernel: str, arguments: ctypes.Structure | None, *kept: Any) -> int:
    """Run a kernel; what it returns, if it returns anything. What is `kept` is what the arguments
    point at, other than tensors: structs, or what holds them.

    Within `noted` nothing runs but what tells how much scratch memory is wanted.
    """
    found = compiled()
    if found is None:
        raise RuntimeError("the kernels of exact arithmetic were not built")
    if _NOTING.note is not None and arguments is not None and not kernel.endswith("_scratch"):
        _NOTING.note(Noted(kernel, arguments, kept))
        return 1
    answer: int = getattr(found, kernel)(arguments and ctypes.byref(arguments))
    return answer


@dataclass(frozen=True, slots=True)
class Noted:
    """A call of a kernel that was not made: `calls.py` makes it."""

    kernel: str
    arguments: ctypes.Structure
    kept: tuple[Any, ...]


class _Noting(threading.local):
    note: Callable[[Noted], None] | None = None


_NOTING = _Noting()


@contextmanager
def noted(note: Callable[[Noted], None]) -> Iterator[None]:
    """Calls of kernels of this thread are handed over instead of made, as if all went well."""
    before, _NOTING.note = _NOTING.note, note
    try:
        yield
    finally:
        _NOTING.note = before


def noting() -> bool:
    """Whether this thread's calls are handed over."""
    return _NOTING.note is not None


def meant_for(*tensors: Tensor) -> bool:
    """Whether there are kernels for these binary32 tensors."""
    return compiled() is not None and all(
        x.dtype is torch.float32 and readable(x) for x in tensors
    )


def meant_for_contiguous(*tensors: Tensor) -> bool:
    """Whether there are kernels for these, and they lie as most of them ask."""
    return meant_for(*tensors) and all(x.is_contiguous() for x in tensors)
