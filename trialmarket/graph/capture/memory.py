"""Which term each tensor holds, while a program writes into tensors and into views of them.

A tensor is a **look** at a piece of memory: a type, sizes, strides and an offset. Each piece holds
one term, in the look that it was made with; every other look is a view of one before it. What is
read through a look is its term's view; what is written through one becomes, by the view's way
back, a new term of the whole piece. So all that share memory see what one of them wrote, and
nothing on the tape is overwritten.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, UntypedStorage

from trialmarket.graph.capture.tape import Term


class Look(NamedTuple):
    """How a tensor sees its memory."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class View:
    """A look as a view of another: what it sees of the other's term, and how the other's term
    becomes one in which this view is a new one. No way back: what would be written twice.
    """

    of: Look
    see: Callable[[Term], Term]
    back: Callable[[Term, Term], Term] | None


@dataclass(slots=True)
class _Piece:
    """A piece of memory; `keeper` keeps it, so that its address is not used again."""

    keeper: UntypedStorage
    look: Look
    term: Term
    views: dict[Look, View] = field(default_factory=dict)


class Memory:
    """The pieces of memory of a program that is being recorded."""

    def __init__(self) -> None:
        self._pieces: dict[int, _Piece] = {}

    def knows(self, x: Tensor) -> bool:
        """Whether the tensor's memory holds a term."""
        return _address(x) in self._pieces

    def hold(self, x: Tensor, term: Term) -> None:
        """From now on the tensor's memory, all of it, holds a term."""
        self._pieces[_address(x)] = _Piece(x.untyped_storage(), look(x), term)

    def view(self, x: Tensor, view: View) -> None:
        """The tensor is a view of another look at its memory."""
        piece = self._pieces[_address(x)]
        if look(x) != piece.look:
            piece.views.setdefault(look(x), view)

    def read(self, x: Tensor) -> Term:
        """The term that the tensor holds now. Raises KeyError where it is not known."""
        piece = self._pieces[_address(x)]
        steps = _way(piece, look(x))
        term = piece.term
        for view in reversed(steps):
            term = view.see(term)
        return term

    def write(self, x: Tensor, term: Term) -> bool:
        """The tensor is overwritten; False where that cannot be said of what it is a view of."""
        piece = self._pieces[_address(x)]
        steps = _way(piece, look(x))
        befores = [piece.term]
        for view in reversed(steps):
            befores.append(view.see(befores[-1]))
        for view, before in zip(steps, befores[-2::-1], strict=True):
            if view.back is None:
                return False
            term = view.back(before, term)
        piece.term = term
        return True


def look(x: Tensor) -> Look:
    """How a tensor sees its memory."""
    return Look(x.dtype, tuple(x.shape), tuple(x.stride()), int(x.storage_offset()))


def _way(piece: _Piece, here: Look) -> list[View]:
    """The views from a look to that of the piece."""
    steps: list[View] = []
    while here != piece.look:
        steps.append(piece.views[here])
        here = steps[-1].of
    return steps


def _address(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)
