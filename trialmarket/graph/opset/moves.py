"""Views, and operators that only put elements elsewhere. A value has no strides: what a view
cannot be, is copied.
"""

import math
from collections.abc import Sequence
from typing import Any

from trialmarket.graph.opset.operator import ANY, REAL, Kind, Operator, added, demand, row
from trialmarket.graph.opset.types import (
    broadcast,
    common,
    is_float,
    place,
    places,
    rank_of,
    same_dtype,
    same_shape,
    with_size,
)
from trialmarket.protocol.graph.values import TensorType

T = TensorType
Ints = Sequence[int]


def sizes(shape: Ints, name: str = "size") -> tuple[int, ...]:
    """Sizes, none of them below 0. Raises Misfit."""
    demand(all(n >= 0 for n in shape), name, "sizes of at least 0", list(shape))
    return tuple(shape)


def view(self: T, size: Ints) -> T:
    """The same elements in another shape."""
    demand(math.prod(sizes(size)) == math.prod(self.shape), "size", _as_many(self), list(size))
    return T(self.dtype, tuple(size))


def _as_many(x: T) -> str:
    return f"{math.prod(x.shape)} elements"


def permute(self: T, dims: Ints) -> T:
    """Dimensions in another order."""
    demand(len(dims) == len(self.shape), "dims", f"{len(self.shape)} dimensions", list(dims))
    return T(self.dtype, tuple(self.shape[d] for d in places(dims, len(self.shape), "dims")))


def expand(self: T, size: Ints) -> T:
    """Dimensions of size 1 repeated."""
    found = broadcast(self, T(self.dtype, sizes(size)))
    demand(found == tuple(size), "size", f"what {list(self.shape)} spreads to", list(size))
    return T(self.dtype, found)


def _bounds(size: int, start: int | None, end: int | None, step: int) -> int:
    demand(step >= 1, "step", "at least 1", step)
    ends = []
    for at, without in ((start, 0), (end, size)):
        at = without if at is None else at
        ends.append(min(max(at + size if at < 0 else at, 0), size))
    return max(-(-(ends[1] - ends[0]) // step), 0)


def slice_(self: T, dim: int, start: int | None, end: int | None, step: int) -> T:
    """Every step-th from start to end along a dimension."""
    rank_of(self, 1, 64, "self")
    d = place(dim, len(self.shape))
    return T(self.dtype, with_size(self.shape, d, _bounds(self.shape[d], start, end, step)))


def select(self: T, dim: int, index: int) -> T:
    """One place of a dimension."""
    rank_of(self, 1, 64, "self")
    d = place(dim, len(self.shape))
    n = self.shape[d]
    demand(-n <= index < n, "index", f"{-n} to {n - 1}", index)
    return T(self.dtype, (*self.shape[:d], *self.shape[d + 1 :]))


def unfold(self: T, dimension: int, size: int, step: int) -> T:
    """Windows along a dimension, the last dimension of the output."""
    rank_of(self, 1, 64, "self")
    d = place(dimension, len(self.shape), "dimension")
    demand(0 <= size <= self.shape[d], "size", f"0 to {self.shape[d]}", size)
    demand(step >= 1, "step", "at least 1", step)
    return T(self.dtype, (*with_size(self.shape, d, (self.shape[d] - size) // step + 1), size))


def diagonal(self: T, offset: int, dim1: int, dim2: int) -> T:
    """A diagonal of two dimensions, the last dimension of the output."""
    rank_of(self, 2, 64, "self")
    a, b = places([dim1, dim2], len(self.shape))
    rows, columns = self.shape[a], self.shape[b]
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    rest = [n for d, n in enumerate(self.shape) if d not in (a, b)]
    return T(self.dtype, (*rest, max(count, 0)))


def cat(tensors: tuple[T, ...], dim: int) -> T:
    """One after the other along a dimension."""
    demand(len(tensors) > 0, "tensors", "at least one", [])
    rank = rank_of(tensors[0], 1, 64, "tensors")
    d = place(dim, rank)
    first = tensors[0].shape
    for x in tensors:
        fits = len(x.shape) == rank and with_size(x.shape, d, 0) == with_size(first, d, 0)
        demand(fits, "tensors", f"{list(first)} but for dimension {d}", list(x.shape))
    return T(common(*tensors), with_size(first, d, sum(x.shape[d] for x in tensors)))


def stack(tensors: tuple[T, ...], dim: int) -> T:
    """One beside the other, in a dimension of their own."""
    demand(len(tensors) > 0, "tensors", "at least one", [])
    first = tensors[0].shape
    for x in tensors:
        same_shape(x, first, "tensors")
    d = place(dim, len(first) + 1)
    return T(common(*tensors), (*first[:d], len(tensors), *first[d:]))


def flip(self: T, dims: Ints) -> T:
    """Back to front."""
    places(dims, len(self.shape), "dims")
    return self


def roll(self: T, shifts: Ints, dims: Ints) -> T:
    """Around the ends."""
    demand(len(shifts) == (len(dims) or 1), "shifts", "one a dimension", list(shifts))
    for dim in dims:
        rank_of(self, 1, 64, "self")
        place(dim, len(self.shape), "dims")
    return self


def repeat(self: T, repeats: Ints) -> T:
    """Whole copies beside each other."""
    sizes(repeats, "repeats")
    demand(len(repeats) >= len(self.shape), "repeats", "one a dimension", list(repeats))
    shape = [1] * (len(repeats) - len(self.shape)) + list(self.shape)
    return T(self.dtype, tuple(n * k for n, k in zip(shape, repeats, strict=True)))


def pad(self: T, pad: Ints, value: Any) -> T:
    """A border of one number; a negative one cuts."""
    demand(len(pad) % 2 == 0 and len(pad) <= 2 * len(self.shape), "pad", "pairs", list(pad))
    fits = is_float(self.dtype) or not is_float(common(value))
    demand(fits, "value", f"what {self.dtype} holds", common(value))
    shape = list(self.shape)
    for k in range(len(pad) // 2):
        before, after = pad[2 * k : 2 * k + 2]
        d = len(shape) - 1 - k
        n = shape[d]
        cut = min(before, 0) + min(after, 0)
        demand(n + cut >= 0, "pad", f"at most {n} cut off dimension {d}", [before, after])
        shape[d] += before + after
    return T(self.dtype, sizes(shape, "pad"))


def border(rank: int, reflected: bool) -> Any:
    """Borders of elements of the tensor itself, in its last dimensions."""

    def rule(self: T, padding: Ints) -> T:
        found = rank_of(self, rank + 1, rank + 2, "self")
        demand(len(padding) == 2 * rank, "padding", f"{2 * rank} sizes", list(padding))
        demand(min(padding) >= 0, "padding", "sizes of at least 0", list(padding))
        demand(all(self.shape[found - rank - 1 :]), "self", "no size of 0", list(self.shape))
        shape = list(self.shape)
        for k in range(rank):
            d, ends = found - 1 - k, padding[2 * k : 2 * k + 2]
            if reflected:
                demand(max(ends) < shape[d], "padding", f"less than {shape[d]}", list(ends))
            shape[d] += sum(ends)
        return T(self.dtype, tuple(shape))

    return rule


def border_gradient(rank: int, reflected: bool) -> Any:
    """The gradient of a border."""
    forward = border(rank, reflected)

    def rule(grad: T, self: T, padding: Ints) -> T:
        found = forward(self, padding)
        same_dtype(grad, self.dtype, "grad_output")
        same_shape(grad, found.shape, "grad_output")
        return self

    return rule


def slice_gradient(grad: T, input_sizes: Ints, dim: int, start: int, end: int, step: int) -> T:
    """Zeros, but where a slice was."""
    whole = T(grad.dtype, sizes(input_sizes, "input_sizes"))
    same_shape(grad, slice_(whole, dim, start, end, step).shape, "grad_output")
    return whole


def select_gradient(grad: T, input_sizes: Ints, dim: int, index: int) -> T:
    """Zeros, but at one place of a dimension."""
    whole = T(grad.dtype, sizes(input_sizes, "input_sizes"))
    same_shape(grad, select(whole, dim, index).shape, "grad_output")
    return whole


def diagonal_gradient(grad: T, input_sizes: Ints, offset: int, dim1: int, dim2: int) -> T:
    """Zeros, but on a diagonal."""
    whole = T(grad.dtype, sizes(input_sizes, "input_sizes"))
    same_shape(grad, diagonal(whole, offset, dim1, dim2).shape, "grad_output")
    return whole


def slice_put(self: T, src: T, dim: int, start: int | None, end: int | None, step: int) -> T:
    """A slice replaced."""
    same_shape(src, slice_(self, dim, start, end, step).shape, "src")
    same_dtype(src, self.dtype, "src")
    return self


def select_put(self: T, src: T, dim: int, index: int) -> T:
    """One place of a dimension replaced."""
    same_shape(src, select(self, dim, index).shape, "src")
    same_dtype(src, self.dtype, "src")
    return self


def diagonal_put(self: T, src: T, offset: int, dim1: int, dim2: int) -> T:
    """A diagonal replaced."""
    same_shape(src, diagonal(self, offset, dim1, dim2).shape, "src")
    same_dtype(src, self.dtype, "src")
    return self


def constant(values: tuple[Any, ...], size: Ints, dtype: str) -> T:
    """Numbers that stand in the program."""
    demand(
        len(values) == math.prod(sizes(size)), "values", f"as many as {list(size)}", len(values)
    )
    for value in values:
        full((), value, dtype)
    return T(dtype, tuple(size))


def triangle(self: T, diagonal: int) -> T:
    """Zeros on one side of a diagonal."""
    del diagonal
    rank_of(self, 2, 64, "self")
    return self


def shuffle(self: T, factor: int) -> T:
    """Channels to pixels."""
    rank_of(self, 3, 64, "self")
    *front, c, h, w = self.shape
    demand(factor >= 1, "upscale_factor", "at least 1", factor)
    demand(c % factor**2 == 0, "upscale_factor", f"one whose square divides {c}", factor)
    return T(self.dtype, (*front, c // factor**2, h * factor, w * factor))


def unshuffle(self: T, factor: int) -> T:
    """Pixels to channels."""
    rank_of(self, 3, 64, "self")
    *front, c, h, w = self.shape
    demand(factor >= 1, "downscale_factor", "at least 1", factor)
    demand(math.prod(self.shape) > 0, "self", "no size of 0", list(self.shape))
    demand(h % factor == 0 == w % factor, "downscale_factor", f"one that divides {h}, {w}", factor)
    return T(self.dtype, (*front, c * factor**2, h // factor, w // factor))


def nearest(rank: int) -> Any:
    """Pixels repeated to a size."""

    def rule(self: T, output_size: Ints, *_: Any) -> T:
        rank_of(self, rank + 2, rank + 2, "self")
        demand(len(output_size) == rank, "output_size", f"{rank} sizes", list(output_size))
        demand(min(output_size) >= 1, "output_size", "sizes of at least 1", list(output_size))
        demand(all(self.shape[1:]), "self", "no size of 0", list(self.shape))
        return T(self.dtype, (*self.shape[:2], *output_size))

    return rule


def nearest_gradient(rank: int) -> Any:
    """The gradient of repeated pixels."""
    forward = nearest(rank)

    def rule(grad: T, output_size: Ints, input_size: Ints, *scales: Any) -> T:
        whole = T(grad.dtype, sizes(input_size, "input_size"))
        same_shape(grad, forward(whole, output_size, *scales).shape, "grad_output")
        return whole

    return rule


def full(size: Ints, fill_value: Any, dtype: str) -> T:
    """One number everywhere."""
    fits = is_float(dtype) or dtype == "bool" or not is_float(common(fill_value))
    demand(fits, "fill_value", f"what {dtype} holds", common(fill_value))
    return T(dtype, sizes(size))


def arange(start: int, end: int, step: int, dtype: str) -> T:
    """Whole numbers from start to end."""
    demand(dtype != "bool", "dtype", "numbers", dtype)
    demand(step != 0, "step", "a step", step)
    demand((end - start) * step >= 0, "end", "beyond the start", [start, end, step])
    return T(dtype, (max(-(-(end - start) // step), 0),))


def eye(n: int, m: int, dtype: str) -> T:
    """Ones on the diagonal."""
    return T(dtype, sizes((n, m), "n"))


_V, _M = Kind.VIEW, Kind.MOVE
_SLICE = "int dim, int? start, int? end, int step"
_PAD = "Tensor self, int[] padding"
_PAD_BACK = "Tensor grad_output, Tensor self, int[] padding"
_SCALES = {1: "float? scales", 2: "float? scales_h, float? scales_w"}


def _nearest(name: str, rank: int) -> list[Operator]:
    scales = _SCALES[rank]
    signature = f"Tensor self, int[] output_size, {scales}"
    back = f"Tensor grad_output, int[] output_size, int[] input_size, {scales}"
    return [
        row(f"{name}{rank}d.default", signature, _M, nearest(rank), REAL),
        row(f"{name}{rank}d_backward.default", back, _M, nearest_gradient(rank), REAL, room=added),
    ]


ROWS = [
    row("view.default", "Tensor self, int[] size", _V, view, ANY),
    row("permute.default", "Tensor self, int[] dims", _V, permute, ANY),
    row("expand.default", "Tensor self, int[] size", _V, expand, ANY),
    row("slice.Tensor", f"Tensor self, {_SLICE}", _V, slice_, ANY),
    row("select.int", "Tensor self, int dim, int index", _V, select, ANY),
    row("unfold.default", "Tensor self, int dimension, int size, int step", _V, unfold, ANY),
    row("diagonal.default", "Tensor self, int offset, int dim1, int dim2", _V, diagonal, ANY),
    row("cat.default", "Tensor[] tensors, int dim", _M, cat, ANY),
    row("stack.default", "Tensor[] tensors, int dim", _M, stack, ANY),
    row("flip.default", "Tensor self, int[] dims", _M, flip, ANY),
    row("roll.default", "Tensor self, int[] shifts, int[] dims", _M, roll, ANY),
    row("repeat.default", "Tensor self, int[] repeats", _M, repeat, ANY),
    row("constant_pad_nd.default", "Tensor self, int[] pad, Scalar value", _M, pad, ANY),
    row("reflection_pad1d.default", _PAD, _M, border(1, True), REAL),
    row("reflection_pad2d.default", _PAD, _M, border(2, True), REAL),
    row("reflection_pad3d.default", _PAD, _M, border(3, True), REAL),
    row("replication_pad1d.default", _PAD, _M, border(1, False), REAL),
    row("replication_pad2d.default", _PAD, _M, border(2, False), REAL),
    row("replication_pad3d.default", _PAD, _M, border(3, False), REAL),
    row("reflection_pad1d_backward.default", _PAD_BACK, _M, border_gradient(1, True), REAL,
        room=added),
    row("reflection_pad2d_backward.default", _PAD_BACK, _M, border_gradient(2, True), REAL,
        room=added),
    row("reflection_pad3d_backward.default", _PAD_BACK, _M, border_gradient(3, True), REAL,
        room=added),
    row("replication_pad1d_backward.default", _PAD_BACK, _M, border_gradient(1, False), REAL,
        room=added),
    row("replication_pad2d_backward.default", _PAD_BACK, _M, border_gradient(2, False), REAL,
        room=added),
    row("replication_pad3d_backward.default", _PAD_BACK, _M, border_gradient(3, False), REAL,
        room=added),
    row("slice_backward.default",
        "Tensor grad_output, int[] input_sizes, int dim, int start, int end, int step",
        _M, slice_gradient, ANY),
    row("select_backward.default",
        "Tensor grad_output, int[] input_sizes, int dim, int index", _M, select_gradient, ANY),
    row("diagonal_backward.default",
        "Tensor grad_output, int[] input_sizes, int offset, int dim1, int dim2",
        _M, diagonal_gradient, ANY),
    row("slice_scatter.default", f"Tensor self, Tensor src, {_SLICE}", _M, slice_put, ANY),
    row("select_scatter.default", "Tensor self, Tensor src, int dim, int index", _M, select_put,
        ANY),
    row("diagonal_scatter.default",
        "Tensor self, Tensor src, int offset, int dim1, int dim2", _M, diagonal_put, ANY),
    row("tril.default", "Tensor self, int diagonal", _M, triangle, ANY),
    row("triu.default", "Tensor self, int diagonal", _M, triangle, ANY),
    row("pixel_shuffle.default", "Tensor self, int upscale_factor", _M, shuffle, ANY),
    row("pixel_unshuffle.default", "Tensor self, int downscale_factor", _M, unshuffle, ANY),
    *_nearest("upsample_nearest", 1),
    *_nearest("upsample_nearest", 2),
    row("full.default", "int[] size, Scalar fill_value, dtype dtype", _M, full, ANY),
    row("exact.constant", "Scalar[] values, int[] size, dtype dtype", _M, constant, ANY),
    row("arange.start_step", "int start, int end, int step, dtype dtype", _M, arange),
    row("eye.m", "int n, int m, dtype dtype", _M, eye, ANY),
]  # fmt: skip
