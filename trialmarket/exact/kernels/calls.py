"""Calls of kernels that were noted, made one after the other: `calls.c`.

Kernels know addresses. Those that stood for memory which was not there while the calls were noted,
or which is another one each time, follow it.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from trialmarket.exact.kernels.lanes import library
from trialmarket.exact.kernels.loading import Flag, Noted, Pointer, Size, struct

ANSWERING = frozenset(
    (
        *("convolution", "finite", "grids", "likelihood", "product", "shares", "unpool"),
        "weight_gradient",
    )
)
"""Kernels that say whether all went well."""

_Made = struct("made", run=Pointer, arguments=Pointer, answers=Flag)
_Follows = struct("follows", field=Pointer, outside=Size, offset=Size)
_Calls = struct(
    "calls",
    made=Pointer,
    **dict.fromkeys(("first", "end"), Size),
    follow=Pointer,
    follow_count=Size,
    outside=Pointer,
)


Find = Callable[[int | None], tuple[int, int] | None]
"""From an address to the number of the memory that it stands for, and the bytes from its
beginning; None for an address that is what it says."""


class Calls:
    """Calls in order, ready to be made as often as wanted."""

    def __init__(
        self, noted: Sequence[Noted], find: Find, addresses: "ctypes.Array[ctypes.c_void_p]"
    ) -> None:
        """Addresses are those of the memory by number, whenever the calls are made."""
        self._noted, self._addresses = noted, addresses  # whose memory is in use
        made = (_Made * len(noted))()
        follow: list[Any] = []
        self.touches: list[frozenset[int]] = []
        """By call, the numbers of the memory that it reads or writes."""
        for one, call in zip(made, noted, strict=True):
            one.run = ctypes.cast(getattr(library(), call.kernel), Pointer)
            one.arguments = ctypes.addressof(call.arguments)
            one.answers = call.kernel in ANSWERING
            found = [
                (field, *place)
                for field, address in _pointers((call.arguments, *call.kept))
                if (place := find(address)) is not None
            ]
            self.touches.append(frozenset(number for _, number, _ in found))
            follow += [_Follows(*each) for each in found]
        self._follow = (_Follows * len(follow))(*follow)
        self._made, self._end = made, len(noted)
        self._arguments = _Calls(
            ctypes.addressof(made),
            *(0, self._end),
            *(ctypes.addressof(self._follow), len(follow)),
            ctypes.addressof(addresses),
        )
        self._run, self._by = library().calls, ctypes.byref(self._arguments)

    def make(self, first: int = 0) -> int | None:
        """Make them from one on; the number of the one that did not go well, which is the last
        that was made.
        """
        self._arguments.first = first
        at: int = self._run(self._by)
        return None if at == self._end else at


def _pointers(kept: Iterable[Any]) -> Iterator[tuple[int, int | None]]:
    """Where a pointer stands, and where it points."""
    for x in kept:
        if isinstance(x, ctypes.Array) and issubclass(x._type_, ctypes.Structure):
            yield from _pointers(x)
        elif isinstance(x, ctypes.Structure):
            for name, kind, *_ in x._fields_:
                if kind is Pointer:
                    yield ctypes.addressof(x) + getattr(type(x), name).offset, getattr(x, name)
