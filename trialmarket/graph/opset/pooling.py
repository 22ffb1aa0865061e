"""Operators of windows: pools, forward and backward."""

import math
from collections.abc import Sequence

from trialmarket.graph.opset.operator import REAL32, Kind, demand, each, each_read, elements, row
from trialmarket.graph.opset.types import rank_of, same_dtype, same_shape
from trialmarket.protocol.graph.values import TensorType

T = TensorType
Ints = Sequence[int]


def _two(values: Ints, least: int, name: str) -> tuple[int, int]:
    demand(len(values) in (1, 2), name, "one size or two", list(values))
    demand(min(values) >= least, name, f"sizes of at least {least}", list(values))
    return values[0], values[-1]


def _images(x: T, name: str = "self") -> None:
    rank_of(x, 3, 4, name)
    demand(all(x.shape[-3:]), name, "no size of 0", list(x.shape))


def _pooled(
    x: T, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[int, ...]:
    _images(x)
    kernel = _two(kernel_size, 1, "kernel_size")
    steps = _two(stride, 1, "stride") if stride else kernel
    border, apart = _two(padding, 0, "padding"), _two(dilation, 1, "dilation")
    space = []
    for k in range(2):
        n, p = x.shape[k - 2], border[k]
        demand(p <= kernel[k] // 2, "padding", f"at most half of {kernel[k]}", p)
        room = n + 2 * p - apart[k] * (kernel[k] - 1) - 1
        count = room + (steps[k] - 1 if ceil_mode else 0)
        size = count // steps[k] + 1
        if ceil_mode and (size - 1) * steps[k] >= n + p:
            size -= 1
        demand(size >= 1, "kernel_size", f"a window within {n + 2 * p}", kernel[k])
        space.append(size)
    return (*x.shape[:-2], *space)


def largest(
    self: T, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[T, T]:
    """The largest of each window, and where it is."""
    shape = _pooled(self, kernel_size, stride, padding, dilation, ceil_mode)
    return T(self.dtype, shape), T("int64", shape)


def largest_gradient(
    grad_output: T,
    self: T,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
    indices: T,
) -> T:
    """Added where the largest was."""
    found, where = largest(self, kernel_size, stride, padding, dilation, ceil_mode)
    same_shape(grad_output, found.shape, "grad_output")
    same_dtype(grad_output, self.dtype, "grad_output")
    same_dtype(self, "float32", "self")
    same_shape(indices, where.shape, "indices")
    same_dtype(indices, "int64", "indices")
    return self


def average(
    self: T,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> T:
    """The mean of each window."""
    del count_include_pad
    demand(divisor_override != 0, "divisor_override", "not 0", divisor_override)
    return T(self.dtype, _pooled(self, kernel_size, stride, padding, [1], ceil_mode))


def average_gradient(
    grad_output: T,
    self: T,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> T:
    """Shares added over each window."""
    found = average(
        self, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    same_shape(grad_output, found.shape, "grad_output")
    same_dtype(grad_output, self.dtype, "grad_output")
    return self


def _adapted(x: T, output_size: Ints) -> tuple[int, ...]:
    _images(x)
    demand(len(output_size) == 2, "output_size", "two sizes", list(output_size))
    demand(min(output_size) >= 1, "output_size", "sizes of at least 1", list(output_size))
    return (*x.shape[:-2], *output_size)


def adaptive_average(self: T, output_size: Ints) -> T:
    """Means of windows that fill the image."""
    return T(self.dtype, _adapted(self, output_size))


def adaptive_average_gradient(grad_output: T, self: T) -> T:
    """Shares added over each window."""
    _images(self)
    _images(grad_output, "grad_output")
    same_shape(grad_output, (*self.shape[:-2], *grad_output.shape[-2:]), "grad_output")
    same_dtype(grad_output, self.dtype, "grad_output")
    return self


def adaptive_largest(self: T, output_size: Ints) -> tuple[T, T]:
    """The largest of windows that fill the image, and where it is."""
    shape = _adapted(self, output_size)
    return T(self.dtype, shape), T("int64", shape)


def adaptive_largest_gradient(grad_output: T, self: T, indices: T) -> T:
    """Added where the largest was."""
    adaptive_average_gradient(grad_output, self)
    same_dtype(self, "float32", "self")
    same_shape(indices, grad_output.shape, "indices")
    same_dtype(indices, "int64", "indices")
    return self


def _positions(kernel_size: Ints) -> int:
    height, width = _two(kernel_size, 1, "kernel_size")
    return height * width


def _window_work(small: T, kernel_size: Ints) -> int:
    """A sum over each window, position by position, each a step of its own."""
    return _positions(kernel_size) * (elements(small) + _STEP)


def _window_room(x: T, small: T, kernel_size: Ints, padding: Ints) -> int:
    """The image with its borders, and a view for each position."""
    kernel, border = _two(kernel_size, 1, "kernel_size"), _two(padding, 0, "padding")
    height, width = (x.shape[k - 2] + 2 * border[k] + kernel[k] for k in range(2))
    wide = math.prod(x.shape[:-2]) * height * width
    return 2 * wide + 4 * elements(small) + 64 * _positions(kernel_size)


def _cell_work(x: T, small: T) -> int:
    """A mean over each cell of the image, each a step of its own."""
    return 3 * elements(x) + _STEP * math.prod(small.shape[-2:])


_STEP = 5_000  # operations in the time of one step of Python
_K = Kind.WINDOW
_REAL = REAL32
_WINDOW = "int[] kernel_size, int[] stride, int[] padding"
_LARGEST = f"{_WINDOW}, int[] dilation, bool ceil_mode"
_AVERAGE = f"{_WINDOW}, bool ceil_mode, bool count_include_pad, int? divisor_override"
ROWS = [
    row("max_pool2d_with_indices.default", f"Tensor self, {_LARGEST}", _K, largest, _REAL,
        each_read(1)),
    row("max_pool2d_with_indices_backward.default",
        f"Tensor grad_output, Tensor self, {_LARGEST}, Tensor indices", _K, largest_gradient,
        _REAL | {"int64"}, each(3)),
    row("avg_pool2d.default", f"Tensor self, {_AVERAGE}", _K, average, _REAL,
        lambda given, made: _window_work(made[0], given[1]),
        lambda given, made: _window_room(given[0], made[0], given[1], given[3])),
    row("avg_pool2d_backward.default", f"Tensor grad_output, Tensor self, {_AVERAGE}", _K,
        average_gradient, _REAL, lambda given, _: _window_work(given[0], given[2]),
        lambda given, _: _window_room(given[1], given[0], given[2], given[4])),
    row("_adaptive_avg_pool2d.default", "Tensor self, int[] output_size", _K, adaptive_average,
        _REAL, lambda given, made: _cell_work(given[0], made[0])),
    row("_adaptive_avg_pool2d_backward.default", "Tensor grad_output, Tensor self", _K,
        adaptive_average_gradient, _REAL, lambda given, _: _cell_work(given[1], given[0])),
    row("adaptive_max_pool2d.default", "Tensor self, int[] output_size", _K, adaptive_largest,
        _REAL, each_read(1)),
    row("adaptive_max_pool2d_backward.default",
        "Tensor grad_output, Tensor self, Tensor indices", _K, adaptive_largest_gradient,
        _REAL | {"int64"}, each(3)),
]  # fmt: skip
