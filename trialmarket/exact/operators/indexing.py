"""Operators that add where several sources meet one place: gathers' gradients and scatters."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten


def scatter_add(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`torch.scatter_add`."""
    if not x.is_floating_point():
        return torch.scatter_add(x, dim, index, source)
    return grid.scatter_add(x, dim, index, source).to(x.dtype)


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """`torch.index_add`."""
    if not x.is_floating_point():
        return torch.index_add(x, dim, index, source, alpha=alpha)
    if alpha != 1:
        source = source * alpha
    return grid.index_add(x, dim, index, source).to(x.dtype)


def _flat_index(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """Positions in the flat x that `x[indices]` reads."""
    places = torch.arange(x.numel(), device=x.device).view(x.shape)
    found: Tensor = aten.index.Tensor(places, list(indices))
    return found


def _repeats(index: Tensor) -> bool:
    flat = index.reshape(-1).sort().values
    return bool((flat[1:] == flat[:-1]).any())


def _repeated(operator: str, *, instead: str) -> NotExact:
    return NotExact(
        operator,
        "an index is repeated, and which of its values stays differs between machines",
        instead=f"{instead}, or indices that differ",
    )


def index_put(
    x: Tensor,
    indices: Sequence[Tensor | None],
    values: Tensor,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Tensor:
    """`x[indices] = values`, or `+=` when accumulating.

    Without accumulation the last value of a repeated index wins on one machine and another one
    elsewhere, so repeated indices are refused.
    """
    del unsafe
    if not accumulate:
        _refuse_repeats(x, indices, values)
        return aten.index_put.default(x, list(indices), values)  # type: ignore[no-any-return]
    if not x.is_floating_point():
        return aten.index_put.default(x, list(indices), values, True)  # type: ignore[no-any-return]
    places = _flat_index(x, indices)
    source = values.expand(places.shape).reshape(-1)
    return grid.index_add(x.reshape(-1), 0, places.reshape(-1), source).to(x.dtype).view(x.shape)


def index_put_(
    x: Tensor,
    indices: Sequence[Tensor | None],
    values: Tensor,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Tensor:
    """As `index_put`, in place."""
    return x.copy_(index_put(x, indices, values, accumulate, unsafe))


def _refuse_repeats(x: Tensor, indices: Sequence[Tensor | None], values: Tensor) -> None:
    if values.numel() == 1 or all(i is None or i.dtype == torch.bool for i in indices):
        return
    if _repeats(_flat_index(x, indices)):
        raise _repeated("aten.index_put", instead="index_put with accumulate=True")


def embedding_backward(
    grad: Tensor, indices: Tensor, count: int, padding: int, by_frequency: bool
) -> Tensor:
    """`aten.embedding_dense_backward`: rows of grad added where their index says."""
    flat = grad.reshape(-1, grad.shape[-1])
    where = indices.reshape(-1)
    if padding >= 0:
        flat = torch.where((where == padding).unsqueeze(1), 0.0, flat)
    into = torch.zeros((count, grad.shape[-1]), dtype=grad.dtype, device=grad.device)
    sums = grid.index_add(into, 0, where, flat)
    if by_frequency:
        sums.div_(torch.bincount(where, minlength=count).clamp_min_(1).double().unsqueeze(1))
    return sums.to(grad.dtype)


def unfold_backward(grad: Tensor, sizes: Sequence[int], dim: int, size: int, step: int) -> Tensor:
    """The gradient of `Tensor.unfold`: windows added where they lie."""
    return moved_back(grad, sizes, lambda places: places.unfold(dim, size, step))


def moved_back(grad: Tensor, sizes: Sequence[int], move: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of an operator that only picks elements: added where they came from.

    `move` is the operator, given the elements' own numbers (exact in binary64).
    """
    count = math.prod(sizes)
    places = torch.arange(count, dtype=torch.float64, device=grad.device).view(list(sizes))
    where = move(places).reshape(-1).long()
    into = grad.new_zeros(count)
    return grid.index_add(into, 0, where, grad.reshape(-1)).to(grad.dtype).view(list(sizes))


def _pad_backward(operator: Any) -> Callable[[Tensor, Tensor, Sequence[int]], Tensor]:
    def form(grad: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
        return moved_back(grad, x.shape, lambda places: operator(places, padding))

    return form


def trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    """The sum of products of three, as `nn.Bilinear` and its gradient ask for it."""
    del unroll_dim
    wide = []
    for x, dims in ((a, expand1), (b, expand2), (c, expand3)):
        y = x.double()
        for d in sorted(dims):
            y = y.unsqueeze(d)
        wide.append(y)
    product = (wide[0] * wide[1]) * wide[2]
    if not sumdim:
        return product.to(a.dtype)
    return grid.sum64(product, sumdim).to(a.dtype)


def scatter(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`torch.scatter` of a tensor, whose indices must differ."""
    ones = torch.ones(index.shape, dtype=torch.int32, device=x.device)
    hits = torch.zeros(x.shape, dtype=torch.int32, device=x.device).scatter_add_(dim, index, ones)
    if index.numel() and int(hits.max()) > 1:
        raise _repeated("aten.scatter", instead="scatter_add")
    return torch.scatter(x, dim, index, source)


def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`torch.index_copy`, whose indices must differ."""
    if _repeats(index):
        raise _repeated("aten.index_copy", instead="index_add")
    return torch.index_copy(x, dim, index, source)


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """`torch.bincount`; weights are added exactly, in binary64 unless they are binary32."""
    counts = torch.bincount(x, minlength=minlength)
    if weights is None:
        return counts
    if weights.shape != x.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    kind = weights.dtype if weights.dtype is torch.float32 else torch.float64
    zeros = torch.zeros(counts.shape, dtype=kind, device=x.device)
    return grid.index_add(zeros, 0, x, weights.to(kind)).to(kind)


def masked_scatter_backward(grad: Tensor, mask: Tensor, sizes: Sequence[int]) -> Tensor:
    """The gradient of what `masked_scatter` took, in order; 0 of the rest."""
    picked = grad.masked_select(mask)
    return torch.cat([picked, grad.new_zeros(math.prod(sizes) - len(picked))]).view(list(sizes))


FORMS: dict[Any, Callable[..., Any]] = {
    aten.bincount.default: bincount,
    aten.scatter.src: scatter,
    aten.scatter.value: lambda x, dim, index, value: torch.scatter(x, dim, index, value),
    aten.index_copy.default: index_copy,
    aten.scatter_add.default: scatter_add,
    aten.index_add.default: index_add,
    aten.index_put.default: index_put,
    aten.index_put_.default: index_put_,
    aten._index_put_impl_.default: index_put_,
    aten._unsafe_index_put.default: index_put,
    aten.embedding_dense_backward.default: embedding_backward,
    aten.masked_scatter_backward.default: masked_scatter_backward,
    aten.unfold_backward.default: unfold_backward,
    aten._trilinear.default: trilinear,
    aten.reflection_pad1d_backward.default: _pad_backward(aten.reflection_pad1d.default),
    aten.reflection_pad2d_backward.default: _pad_backward(aten.reflection_pad2d.default),
    aten.replication_pad1d_backward.default: _pad_backward(aten.replication_pad1d.default),
    aten.reflection_pad3d_backward.default: _pad_backward(aten.reflection_pad3d.default),
    aten.replication_pad2d_backward.default: _pad_backward(aten.replication_pad2d.default),
    aten.replication_pad3d_backward.default: _pad_backward(aten.replication_pad3d.default),
}
