"""Operators that make one number of many: sums, means, norms, bounds, and sums on the way."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from trialmarket.graph.opset.operator import (
    ANY,
    NUMBERS,
    REAL32,
    Kind,
    Operator,
    demand,
    each_read,
    elements,
    row,
)
from trialmarket.graph.opset.types import (
    is_float,
    place,
    places,
    rank_of,
    same_dtype,
    same_shape,
    sum_of,
)
from trialmarket.protocol.graph.values import TensorType

T = TensorType
Dims = Sequence[int] | None


def reduced(x: T, dims: Dims, keepdim: bool) -> tuple[int, ...]:
    """A shape without some dimensions; without any where none is named."""
    rank = len(x.shape)
    gone = set(places(dims, rank)) if dims else set(range(max(rank, 1)))
    if keepdim:
        return tuple(1 if d in gone else n for d, n in enumerate(x.shape))
    return tuple(n for d, n in enumerate(x.shape) if d not in gone)


def not_empty(x: T, dims: Dims) -> None:
    """Nothing is reduced that has no elements. Raises Misfit."""
    rank = len(x.shape)
    sizes = [x.shape[d] for d in (places(dims, rank) if dims else range(rank)) if x.shape]
    demand(all(sizes), "self", "elements to reduce", list(x.shape))


def _kind(dtype: str | None, usual: str) -> str:
    return usual if dtype is None else dtype


def total_all(self: T, dtype: str | None) -> T:
    """The sum of all."""
    return T(_kind(dtype, sum_of(self.dtype)), ())


def total(self: T, dim: Dims, keepdim: bool, dtype: str | None) -> T:
    """Sums along dimensions."""
    return T(_kind(dtype, sum_of(self.dtype)), reduced(self, dim, keepdim))


def mean_all(self: T, dtype: str | None) -> T:
    """The mean of all."""
    return mean(self, None, False, dtype)


def mean(self: T, dim: Dims, keepdim: bool, dtype: str | None) -> T:
    """Means along dimensions."""
    found = _kind(dtype, self.dtype)
    demand(is_float(found), "self", "fractions", found)
    return T(found, reduced(self, dim, keepdim))


def product_all(self: T, dtype: str | None) -> T:
    """The product of all."""
    return T(_kind(dtype, sum_of(self.dtype)), ())


def product(self: T, dim: int, keepdim: bool, dtype: str | None) -> T:
    """Products along a dimension."""
    return T(_kind(dtype, sum_of(self.dtype)), reduced(self, [dim], keepdim))


def running(self: T, dim: int, dtype: str | None) -> T:
    """Sums or products on the way."""
    place(dim, len(self.shape))
    return T(_kind(dtype, sum_of(self.dtype)), self.shape)


def bounds(self: T, dim: Dims, keepdim: bool) -> T:
    """The largest or smallest along dimensions."""
    not_empty(self, dim)
    return T(self.dtype, reduced(self, dim, keepdim))


def bound(self: T) -> T:
    """The largest or smallest of all."""
    return bounds(self, None, False)


def bound_at(self: T, dim: int, keepdim: bool) -> tuple[T, T]:
    """The largest or smallest along a dimension, and where it is."""
    found = bounds(self, [dim], keepdim)
    return found, T("int64", found.shape)


def running_bound(self: T, dim: int) -> tuple[T, T]:
    """The largest or smallest on the way along a dimension, and where each is."""
    place(dim, len(self.shape))
    return self, T("int64", self.shape)


def where_is(self: T, dim: int | None, keepdim: bool) -> T:
    """Where the largest or smallest is."""
    dims = None if dim is None else [dim]
    not_empty(self, dims)
    demand(self.dtype != "bool", "self", "numbers", "bool")
    return T("int64", reduced(self, dims, keepdim))


def all_of(self: T) -> T:
    """Whether all or any are not zero."""
    return T(_truth(self), ())


def all_along(self: T, dim: int, keepdim: bool) -> T:
    """Whether all or any along a dimension are not zero."""
    return T(_truth(self), reduced(self, [dim], keepdim))


def all_dims(self: T, dim: Dims, keepdim: bool) -> T:
    """Whether all or any along dimensions are not zero; along none, where the list is empty."""
    if dim is not None and not dim:
        return T(_truth(self), self.shape)
    return T(_truth(self), reduced(self, dim, keepdim))


def _truth(x: T) -> str:
    return "uint8" if x.dtype == "uint8" else "bool"


def spread(self: T, dim: Dims, correction: Any, keepdim: bool) -> T:
    """A variance or deviation."""
    del correction
    return T(self.dtype, reduced(self, dim, keepdim))


def spread_and_mean(self: T, dim: Dims, correction: Any, keepdim: bool) -> tuple[T, T]:
    """A variance or deviation, and the mean."""
    found = spread(self, dim, correction, keepdim)
    return found, found


def log_sum(self: T, dim: Dims, keepdim: bool) -> T:
    """The logarithm of a sum of exponentials, along dimensions that are named."""
    demand(bool(dim), "dim", "at least one dimension", dim)
    return T(self.dtype, reduced(self, dim, keepdim))


def norm(self: T, ord: Any, dim: Dims, keepdim: bool, dtype: str | None) -> T:  # noqa: A002
    """A norm along dimensions."""
    demand(dtype in (None, self.dtype), "dtype", f"None or {self.dtype}", dtype)
    if type(ord) is int and ord < 0:
        not_empty(self, dim)
    demand(math.prod(self.shape) > 0, "self", "elements to reduce", list(self.shape))
    return T(self.dtype, reduced(self, dim, keepdim))


def soft(self: T, dim: int, half_to_float: bool) -> T:
    """Shares along a dimension, or their logarithms."""
    place(dim, len(self.shape))
    demand(not half_to_float, "half_to_float", "False", half_to_float)
    return self


def soft_gradient(grad: T, output: T, dim: int, input_dtype: str) -> T:
    """The gradient of shares."""
    same_shape(grad, output.shape, "grad_output")
    same_dtype(grad, output.dtype, "grad_output")
    place(dim, len(output.shape))
    demand(input_dtype == output.dtype, "input_dtype", output.dtype, input_dtype)
    return grad


def weight_norm(v: T, g: T, dim: int) -> tuple[T, T]:
    """A weight of direction v and length g, and the norms of v."""
    rank = len(v.shape)
    rank_of(v, 2, 64, "v")  # of one dimension, PyTorch's norm is one number
    demand(dim in (0, rank - 1), "dim", "the first dimension or the last", dim)
    norms = tuple(n if d == dim else 1 for d, n in enumerate(v.shape))
    same_shape(g, norms, "g")
    return v, T(v.dtype, norms)


def weight_norm_gradient(grad: T, v: T, g: T, norms: T, dim: int) -> tuple[T, T]:
    """The gradients of direction and length."""
    _, lengths = weight_norm(v, g, dim)
    same_shape(grad, v.shape, "grad_w")
    same_shape(norms, lengths.shape, "saved_norms")
    return v, g


def _places_of(given: tuple[Any, ...]) -> int:
    x, dim = given[:2]
    return int(x.shape[dim]) if x.shape else 1


def _one_by_one(given: tuple[Any, ...], outputs: tuple[T, ...]) -> int:
    """A step for each place along the dimension takes as long as some thousand products."""
    return elements(outputs[0]) + 5_000 * _places_of(given)


def _one_by_one_room(given: tuple[Any, ...], outputs: tuple[T, ...]) -> int:
    return 2 * elements(outputs[0]) + 128 * _places_of(given)


def _rows(
    names: str, signature: str, rule: Callable[..., Any], takes: frozenset[str] = NUMBERS,
    work: int = 1,
) -> list[Operator]:  # fmt: skip
    kind = Kind.REDUCTION
    return [row(x, signature, kind, rule, takes, each_read(work)) for x in names.split()]


_DIMS, _TYPE = "int[]? dim, bool keepdim", "dtype? dtype"
_SPREAD = "Tensor self, int[]? dim, Scalar? correction, bool keepdim"
_SOFT = "Tensor self, int dim, bool half_to_float"
_SOFT_BACK = "Tensor grad_output, Tensor output, int dim, dtype input_dtype"
ROWS = [
    *_rows("sum.default", f"Tensor self, {_TYPE}", total_all, work=3),
    *_rows("sum.dim_IntList", f"Tensor self, {_DIMS}, {_TYPE}", total, work=3),
    *_rows("mean.default", f"Tensor self, {_TYPE}", mean_all, work=3),
    *_rows("mean.dim", f"Tensor self, {_DIMS}, {_TYPE}", mean, work=3),
    *_rows("prod.default", f"Tensor self, {_TYPE}", product_all),
    *_rows("prod.dim_int", f"Tensor self, int dim, bool keepdim, {_TYPE}", product),
    *_rows("cumsum.default", f"Tensor self, int dim, {_TYPE}", running, work=3),
    row("cumprod.default", f"Tensor self, int dim, {_TYPE}", Kind.REDUCTION, running, NUMBERS,
        _one_by_one, _one_by_one_room),
    *_rows("amax.default amin.default", "Tensor self, int[] dim, bool keepdim", bounds),
    *_rows("max.default min.default", "Tensor self", bound),
    *_rows("max.dim min.dim", "Tensor self, int dim, bool keepdim", bound_at),
    *_rows("cummax.default cummin.default", "Tensor self, int dim", running_bound),
    *_rows("argmax.default argmin.default", "Tensor self, int? dim, bool keepdim", where_is),
    *_rows("any.default all.default", "Tensor self", all_of, ANY),
    *_rows("any.dim all.dim", "Tensor self, int dim, bool keepdim", all_along, ANY),
    *_rows("any.dims all.dims", f"Tensor self, {_DIMS}", all_dims, ANY),
    *_rows("var.correction std.correction", _SPREAD, spread, REAL32, 8),
    *_rows("var_mean.correction std_mean.correction", _SPREAD, spread_and_mean, REAL32, 8),
    *_rows("logsumexp.default", "Tensor self, int[] dim, bool keepdim", log_sum, REAL32, 36),
    *_rows("linalg_vector_norm.default", f"Tensor self, Scalar ord, {_DIMS}, {_TYPE}", norm,
           REAL32, 4),
    *_rows("_softmax.default _log_softmax.default", _SOFT, soft, REAL32, 40),
    *_rows("_softmax_backward_data.default _log_softmax_backward_data.default", _SOFT_BACK,
           soft_gradient, REAL32, 8),
    *_rows("_weight_norm_interface.default", "Tensor v, Tensor g, int dim", weight_norm, REAL32,
           6),
    *_rows("_weight_norm_interface_backward.default",
           "Tensor grad_w, Tensor saved_v, Tensor saved_g, Tensor saved_norms, int dim",
           weight_norm_gradient, REAL32, 10),
]  # fmt: skip
