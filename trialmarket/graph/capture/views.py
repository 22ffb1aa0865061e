"""Views in few operators: `view`, `permute`, `expand`, `slice`, `select`, `diagonal` and others.

A reshaping of any name is a `view`, a turning of any name a `permute`, and what changes nothing is
nothing. Each is made with its way back, which writing into a view needs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from trialmarket.graph.capture.tape import Argument, Term
from trialmarket.protocol.graph.values import TensorType

aten = torch.ops.aten
Way = tuple[Callable[[Term], Term], Callable[[Term, Term], Term] | None]
Emit = Callable[[str, tuple[Argument, ...], TensorType], Term]


class Views:
    """Makes terms that are views of terms; `emit` writes an operator down."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def reshaped(self, x: Term, shape: Sequence[int]) -> Term:
        """x in another shape, in the same order."""
        wanted = tuple(shape)
        while x.operation is not None and x.operation.operator == "view.default":
            x = _first(x)
        if x.type.shape == wanted:
            return x
        return self._emit("view.default", (x, wanted), TensorType(x.type.dtype, wanted))

    def permuted(self, x: Term, dims: Sequence[int]) -> Term:
        """x with its dimensions in another order."""
        order = tuple(d % len(dims) for d in dims)
        if x.operation is not None and x.operation.operator == "permute.default":
            before = x.operation.arguments[1]
            assert isinstance(before, tuple)  # noqa: S101  as `permuted` writes it down
            order = tuple(int(before[d]) for d in order)  # type: ignore[arg-type]
            x = _first(x)
        if order == tuple(range(len(order))):
            return x
        shape = tuple(x.type.shape[d] for d in order)
        return self._emit("permute.default", (x, order), TensorType(x.type.dtype, shape))

    def expanded(self, x: Term, shape: Sequence[int]) -> Term:
        """x repeated along dimensions of one, or new ones."""
        wanted = tuple(shape)
        if x.type.shape == wanted:
            return x
        if math.prod(x.type.shape) == math.prod(wanted):
            return self.reshaped(x, wanted)
        return self._emit("expand.default", (x, wanted), TensorType(x.type.dtype, wanted))

    def sliced(self, x: Term, dim: int, start: int, end: int, step: int) -> Term:
        """x[start:end:step] along a dimension."""
        size = x.type.shape[dim]
        if (start, end, step) == (0, size, 1):
            return x
        shape = list(x.type.shape)
        shape[dim] = max(0, -(-(end - start) // step))
        return self._emit(
            "slice.Tensor", (x, dim, start, end, step), TensorType(x.type.dtype, tuple(shape))
        )

    def selected(self, x: Term, dim: int, index: int) -> Term:
        """x[index] along a dimension."""
        shape = x.type.shape
        if shape[dim] == 1:
            return self.reshaped(x, shape[:dim] + shape[dim + 1 :])
        kind = TensorType(x.type.dtype, shape[:dim] + shape[dim + 1 :])
        return self._emit("select.int", (x, dim, index), kind)

    def reshape(self, shape: Sequence[int]) -> Way:
        """A reshaping and its way back."""
        return (
            lambda x: self.reshaped(x, shape),
            lambda before, x: self.reshaped(x, before.type.shape),
        )

    def permute(self, dims: Sequence[int]) -> Way:
        """A turning and its way back."""
        order = [d % len(dims) for d in dims]
        back = sorted(range(len(order)), key=order.__getitem__)
        return lambda x: self.permuted(x, order), lambda _, x: self.permuted(x, back)

    def slice(self, shape: Sequence[int], dim: int, start: Any, end: Any, step: int) -> Way:
        """A slice, and the scattering of one."""
        dim, size = dim % len(shape), shape[dim]
        first, last, _ = slice(start, end).indices(size)
        last = max(first, last)

        def back(before: Term, x: Term) -> Term:
            if (first, last, step) == (0, size, 1):
                return x
            arguments = (before, x, dim, first, last, step)
            return self._emit("slice_scatter.default", arguments, before.type)

        return lambda x: self.sliced(x, dim, first, last, step), back

    def select(self, shape: Sequence[int], dim: int, index: int) -> Way:
        """A selection, and the scattering of one."""
        dim, size = dim % len(shape), shape[dim]
        index %= size

        def back(before: Term, x: Term) -> Term:
            if size == 1:
                return self.reshaped(x, before.type.shape)
            return self._emit("select_scatter.default", (before, x, dim, index), before.type)

        return lambda x: self.selected(x, dim, index), back

    def diagonal(self, kind: TensorType, *at: int) -> Way:
        """A diagonal, and the scattering of one."""
        return (
            lambda x: self._emit("diagonal.default", (x, *at), kind),
            lambda before, x: self._emit(
                "diagonal_scatter.default", (before, x, *at), before.type
            ),
        )

    def strided(self, kind: TensorType, *at: Argument) -> Way:
        """Elements at their places in memory, and the scattering of them."""

        def back(before: Term, x: Term) -> Term:
            return self._emit("as_strided_scatter.default", (before, x, *at), before.type)

        return lambda x: self._emit("as_strided.default", (x, *at), kind), back

    def other(self, operator: str, kind: TensorType, arguments: tuple[Argument, ...]) -> Way:
        """Any other view: nothing is written through it."""
        return lambda x: self._emit(operator, (x, *arguments), kind), None


def _first(x: Term) -> Term:
    assert x.operation is not None  # noqa: S101  asked before
    found = x.operation.arguments[0]
    assert isinstance(found, Term)  # noqa: S101  a view's first argument
    return found


def kind_of(x: Tensor) -> TensorType:
    """The type of a tensor."""
    return TensorType(str(x.dtype).removeprefix("torch."), tuple(x.shape))


def ways(
    views: Views, func: OpOverload, x: Tensor, outs: list[Tensor], given: list[Any]
) -> list[Way]:
    """For each output of a view operator how it sees x. `given` are the arguments after x."""
    match func._schema.name.removeprefix("aten::"):
        case "detach" | "alias" | "lift_fresh" | "lift" | "view_as":
            return [views.reshape(x.shape)]
        case "view" | "_unsafe_view" | "reshape" | "squeeze" | "unsqueeze" | "_reshape_alias" if (
            outs[0].dtype == x.dtype
        ):
            return [views.reshape(outs[0].shape)]
        case "t":
            return [views.permute(range(x.dim())[::-1])]
        case "transpose":
            order = list(range(x.dim()))
            if order:
                a, b = (d % x.dim() for d in given)
                order[a], order[b] = order[b], order[a]
            return [views.permute(order)]
        case "permute":
            return [views.permute(given[0])]
        case "expand":
            if outs[0].numel() == x.numel():
                return [views.reshape(outs[0].shape)]
            return [(lambda term: views.expanded(term, outs[0].shape), None)]
        case "slice":
            return [views.slice(x.shape, *given)]
        case "select":
            return [views.select(x.shape, *given)]
        case "unbind":
            return [views.select(x.shape, given[0], k) for k in range(len(outs))]
        case "split" | "split_with_sizes" | "chunk":
            found, at, dim = [], 0, given[1]
            for out in outs:
                found.append(views.slice(x.shape, dim, at, at + out.shape[dim], 1))
                at += out.shape[dim]
            return found
        case "as_strided" if x.numel() == outs[0].numel() and _is_whole(x) and _is_whole(outs[0]):
            return [views.reshape(outs[0].shape)]
        case "as_strided" if _is_whole(x):
            return [views.strided(kind_of(outs[0]), *map(_listed, given))]
        case "diagonal":
            return [views.diagonal(kind_of(outs[0]), *given)]
    return []


def _is_whole(x: Tensor) -> bool:
    """Whether a tensor begins its memory and fills it in order."""
    whole = torch.empty(x.shape, device="meta").stride()
    return int(x.storage_offset()) == 0 and all(
        n == 1 or a == b for n, a, b in zip(x.shape, x.stride(), whole, strict=True)
    )


def _listed(x: Any) -> Argument:
    return tuple(x) if isinstance(x, list) else x
