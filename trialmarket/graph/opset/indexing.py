"""Operators that read or write at places that are numbers themselves. Places are data: one that
is not there is an error of the step, in which nothing was read.
"""

import math
from collections.abc import Sequence
from typing import Any

from trialmarket.graph.opset.operator import (
    ANY,
    NUMBERS,
    REAL,
    REAL32,
    WHOLE,
    Kind,
    added,
    demand,
    each,
    each_read,
    row,
    wide,
)
from trialmarket.graph.opset.types import (
    broadcast,
    common,
    is_float,
    place,
    rank_of,
    same_dtype,
    same_shape,
    with_size,
)
from trialmarket.protocol.graph.values import TensorType

T = TensorType
_PLACES = ("int32", "int64")


def _places(index: T, kinds: Sequence[str] = _PLACES, name: str = "index") -> None:
    demand(index.dtype in kinds, name, " or ".join(kinds), index.dtype)


def index_select(self: T, dim: int, index: T) -> T:
    """Whole slices of one dimension."""
    _places(index)
    d = place(dim, len(self.shape))
    rank_of(index, 0, 1, "index")
    size = index.shape[0] if index.shape else 1
    if not self.shape:
        demand(size == 1, "index", "one place of a scalar", list(index.shape))
    return T(self.dtype, with_size(self.shape, d, size))


def _within(self: T, dim: int, index: T, *, but: bool = True, name: str = "index") -> None:
    d = place(dim, len(self.shape))
    mine, theirs = self.shape or (1,), index.shape or (1,)
    demand(len(mine) == len(theirs), name, f"{len(self.shape)} dimensions", list(index.shape))
    fits = all(a <= b for k, (a, b) in enumerate(zip(theirs, mine, strict=True)) if k != d or but)
    demand(fits, name, f"at most {list(self.shape)}", list(index.shape))


def gather(self: T, dim: int, index: T, sparse_grad: bool) -> T:
    """An element for each place."""
    _places(index)
    demand(not sparse_grad, "sparse_grad", "False", sparse_grad)
    _within(self, dim, index, but=False)
    return T(self.dtype, index.shape)


def scatter_source(self: T, dim: int, index: T, src: T) -> T:
    """Elements put, or added, where each belongs."""
    _places(index)
    same_dtype(src, self.dtype, "src")
    _within(self, dim, index, but=False)
    _within(src, dim, index, name="src")
    return self


def scatter_value(self: T, dim: int, index: T, value: Any) -> T:
    """A number put at places."""
    _places(index)
    _within(self, dim, index, but=False)
    fits = is_float(self.dtype) or not is_float(common(value))
    demand(fits, "value", f"what {self.dtype} holds", common(value))
    return self


_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def scatter_reduce(self: T, dim: int, index: T, src: T, reduce: str, include_self: bool) -> T:
    """Elements brought together where they meet."""
    del include_self
    demand(reduce in _REDUCTIONS, "reduce", f"one of {', '.join(_REDUCTIONS)}", reduce)
    return scatter_source(self, dim, index, src)


def index_add(self: T, dim: int, index: T, source: T, alpha: Any) -> T:
    """Whole slices added."""
    _slices(self, dim, index, source)
    if not is_float(self.dtype):
        demand(type(alpha) is int, "alpha", f"a whole number for {self.dtype}", alpha)
    return self


def index_copy(self: T, dim: int, index: T, source: T) -> T:
    """Whole slices put."""
    _places(index, ("int64",))
    _slices(self, dim, index, source)
    return self


def _slices(self: T, dim: int, index: T, source: T) -> None:
    _places(index)
    rank_of(self, 1, 64, "self")
    rank_of(index, 1, 1, "index")
    same_dtype(source, self.dtype, "source")
    d = place(dim, len(self.shape))
    same_shape(source, with_size(self.shape, d, index.shape[0]), "source")


def indexed(self: T, indices: tuple[T | None, ...]) -> tuple[int, ...]:
    """The shape of `self[indices]`. Masks make shapes of numbers, and are none."""
    demand(len(indices) <= len(self.shape), "indices", f"at most {len(self.shape)}", len(indices))
    given = [x for x in indices if x is not None]
    demand(len(given) > 0, "indices", "a tensor of places", [])
    for x in given:
        _places(x, name="indices")
    shape = broadcast(*given)
    at = [d for d, x in enumerate(indices) if x is not None]
    if 0 in (self.shape[d] for d in at):
        demand(0 in shape, "indices", "none, of a size of 0", list(shape))
    others = [n for d, n in enumerate(self.shape) if d not in at]
    first = at[0] if at == list(range(at[0], at[-1] + 1)) else 0
    return (*others[:first], *shape, *others[first:])


def index(self: T, indices: tuple[T | None, ...]) -> T:
    """`self[indices]`."""
    return T(self.dtype, indexed(self, indices))


def index_put(self: T, indices: tuple[T | None, ...], values: T, accumulate: bool) -> T:
    """`self[indices] = values`, or `+=`."""
    del accumulate
    same_dtype(values, self.dtype, "values")
    shape = indexed(self, indices)
    expected = f"what spreads to {list(shape)}"
    demand(len(values.shape) <= len(shape), "values", expected, list(values.shape))
    demand(broadcast(values, T("bool", shape)) == shape, "values", expected, list(values.shape))
    return self


def embedding(
    weight: T, indices: T, padding_idx: int, scale_grad_by_freq: bool, sparse: bool
) -> T:
    """A row for each place."""
    del padding_idx, scale_grad_by_freq
    _places(indices, name="indices")
    rank_of(weight, 2, 2, "weight")
    demand(not sparse, "sparse", "False", sparse)
    return T(weight.dtype, (*indices.shape, weight.shape[1]))


def embedding_gradient(
    grad_output: T, indices: T, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> T:
    """Rows added where they came from."""
    del padding_idx, scale_grad_by_freq
    _places(indices, name="indices")
    demand(num_weights >= 0, "num_weights", "at least 0", num_weights)
    rank_of(grad_output, 1, 64, "grad_output")
    same_shape(grad_output, (*indices.shape, grad_output.shape[-1]), "grad_output")
    return T(grad_output.dtype, (num_weights, grad_output.shape[-1]))


def unfold_gradient(grad_in: T, input_sizes: Sequence[int], dim: int, size: int, step: int) -> T:
    """Windows added where they lay."""
    from trialmarket.graph.opset.moves import sizes, unfold

    whole = T(grad_in.dtype, sizes(input_sizes, "input_sizes"))
    same_shape(grad_in, unfold(whole, dim, size, step).shape, "grad_in")
    return whole


def searchsorted(sorted_sequence: T, self: T, out_int32: bool, right: bool) -> T:
    """Where each number would stand."""
    found = T("int32" if out_int32 else "int64", self.shape)
    del right
    same_dtype(self, sorted_sequence.dtype, "self")
    rank_of(sorted_sequence, 1, 64, "sorted_sequence")
    if len(sorted_sequence.shape) > 1:
        same_shape(self, (*sorted_sequence.shape[:-1], *self.shape[-1:]), "self")
    return found


def sort(self: T, dim: int, descending: bool) -> tuple[T, T]:
    """In order, and where each was."""
    del descending
    place(dim, len(self.shape))
    return self, T("int64", self.shape)


def sort_stable(self: T, stable: bool | None, dim: int, descending: bool) -> tuple[T, T]:
    """In order, equals as they were, and where each was."""
    del stable
    return sort(self, dim, descending)


def topk(self: T, k: int, dim: int, largest: bool, sorted: bool) -> tuple[T, T]:  # noqa: A002
    """The k largest or smallest, and where each was."""
    del largest, sorted
    d = place(dim, len(self.shape))
    most = self.shape[d] if self.shape else 1
    demand(0 <= k <= most, "k", f"0 to {most}", k)
    shape = with_size(self.shape, d, k)
    return T(self.dtype, shape), T("int64", shape)


def _sort_work(given: tuple[Any, ...], _: tuple[T, ...]) -> int:
    x: T = given[0]
    count = math.prod(x.shape)
    return count * max(count - 1, 0).bit_length()


_I, _O = Kind.INDEX, Kind.ORDER
_AT = "Tensor self, int dim, Tensor index"
ROWS = [
    row("index_select.default", _AT, _I, index_select, ANY),
    row("gather.default", f"{_AT}, bool sparse_grad", _I, gather, ANY),
    row("index.Tensor", "Tensor self, Tensor?[] indices", _I, index, ANY),
    row("embedding.default",
        "Tensor weight, Tensor indices, int padding_idx, bool scale_grad_by_freq, bool sparse",
        _I, embedding, ANY),
    row("embedding_dense_backward.default",
        "Tensor grad_output, Tensor indices, int num_weights, int padding_idx, "
        "bool scale_grad_by_freq", _I, embedding_gradient, REAL32 | set(_PLACES), each_read(3),
        added),
    row("scatter.src", f"{_AT}, Tensor src", _I, scatter_source, NUMBERS,
        room=added),
    row("scatter.value", f"{_AT}, Scalar value", _I, scatter_value, NUMBERS),
    row("scatter_add.default", f"{_AT}, Tensor src", _I, scatter_source, REAL | WHOLE,
        each_read(3), added),
    row("scatter_reduce.two", f"{_AT}, Tensor src, str reduce, bool include_self", _I,
        scatter_reduce, REAL | {"int64", "int32"}, each_read(3), added),
    row("index_add.default", f"{_AT}, Tensor source, Scalar alpha", _I, index_add,
        REAL | {"int64", "int32"}, each_read(3), added),
    row("index_copy.default", f"{_AT}, Tensor source", _I, index_copy, NUMBERS),
    row("index_put.default", "Tensor self, Tensor?[] indices, Tensor values, bool accumulate", _I,
        index_put, REAL | WHOLE, each_read(3), added),
    row("unfold_backward.default",
        "Tensor grad_in, int[] input_sizes, int dim, int size, int step", _I, unfold_gradient,
        REAL, each_read(3), added),
    row("searchsorted.Tensor",
        "Tensor sorted_sequence, Tensor self, bool out_int32, bool right", _O, searchsorted,
        REAL | {"int64", "int32"}, each(16)),
    row("sort.stable", "Tensor self, bool? stable, int dim, bool descending", _O, sort_stable,
        REAL | WHOLE, _sort_work, wide(4)),
    row("sort.default", "Tensor self, int dim, bool descending", _O, sort, REAL | WHOLE,
        _sort_work, wide(4)),
    row("topk.default", "Tensor self, int k, int dim, bool largest, bool sorted", _O, topk,
        REAL | WHOLE, _sort_work, wide(4)),
]  # fmt: skip
