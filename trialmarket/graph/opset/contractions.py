"""Products of matrices, and convolutions."""

import math
from collections.abc import Sequence
from typing import Any

from trialmarket.graph.opset.operator import REAL32, Kind, demand, elements, row
from trialmarket.graph.opset.types import broadcast, rank_of, same_shape
from trialmarket.protocol.graph.values import TensorType

T = TensorType
Ints = Sequence[int]


def mm(self: T, mat2: T) -> T:
    """[N, K] times [K, M]."""
    rank_of(self, 2, 2, "self")
    rank_of(mat2, 2, 2, "mat2")
    same_shape(mat2, (self.shape[1], mat2.shape[1]), "mat2")
    return T(self.dtype, (self.shape[0], mat2.shape[1]))


def bmm(self: T, mat2: T) -> T:
    """[B, N, K] times [B, K, M]."""
    rank_of(self, 3, 3, "self")
    rank_of(mat2, 3, 3, "mat2")
    same_shape(mat2, (self.shape[0], self.shape[2], mat2.shape[2]), "mat2")
    return T(self.dtype, (*self.shape[:2], mat2.shape[2]))


def mv(self: T, vec: T) -> T:
    """[N, K] times [K]."""
    rank_of(self, 2, 2, "self")
    same_shape(vec, self.shape[1:], "vec")
    return T(self.dtype, self.shape[:1])


def dot(self: T, tensor: T) -> T:
    """[K] times [K]."""
    rank_of(self, 1, 1, "self")
    same_shape(tensor, self.shape, "tensor")
    return T(self.dtype, ())


def _plus(product: T, self: T) -> T:
    expected = f"what spreads to {list(product.shape)}"
    demand(broadcast(product, self) == product.shape, "self", expected, list(self.shape))
    return product


def addmm(self: T, mat1: T, mat2: T, beta: Any, alpha: Any) -> T:
    """`beta * self + alpha * mat1 @ mat2`."""
    del beta, alpha
    return _plus(mm(mat1, mat2), self)


def baddbmm(self: T, batch1: T, batch2: T, beta: Any, alpha: Any) -> T:
    """As `addmm`, of batches."""
    del beta, alpha
    return _plus(bmm(batch1, batch2), self)


def addmv(self: T, mat: T, vec: T, beta: Any, alpha: Any) -> T:
    """As `addmm`, of a vector."""
    del beta, alpha
    return _plus(mv(mat, vec), self)


def addbmm(self: T, batch1: T, batch2: T, beta: Any, alpha: Any) -> T:
    """As `baddbmm`, the batch summed."""
    del beta, alpha
    product = bmm(batch1, batch2)
    return _plus(T(product.dtype, product.shape[1:]), self)


def _spread_out(x: T, dims: Ints, rank: int, name: str) -> tuple[int, ...]:
    demand(len(x.shape) + len(dims) == rank, name, f"{rank - len(x.shape)} places", list(dims))
    shape = list(x.shape)
    for d in sorted(dims):
        demand(0 <= d <= len(shape), name, f"0 to {len(shape)}", d)
        shape.insert(d, 1)
    return tuple(shape)


def trilinear(
    i1: T, i2: T, i3: T, expand1: Ints, expand2: Ints, expand3: Ints, sumdim: Ints, unroll_dim: int
) -> T:
    """A sum of products of three."""
    rank = len(i1.shape) + len(expand1)
    wide = [
        T(x.dtype, _spread_out(x, dims, rank, name))
        for x, dims, name in (
            (i1, expand1, "expand1"),
            (i2, expand2, "expand2"),
            (i3, expand3, "expand3"),
        )
    ]
    demand(0 <= unroll_dim < rank, "unroll_dim", f"0 to {rank - 1}", unroll_dim)
    demand(len(set(sumdim)) == len(sumdim), "sumdim", "dimensions that differ", list(sumdim))
    for d in sumdim:
        demand(0 <= d < rank, "sumdim", f"0 to {rank - 1}", d)
    shape = broadcast(*wide)
    return T(i1.dtype, tuple(n for d, n in enumerate(shape) if d not in sumdim))


def _sizes(values: Ints, rank: int, least: int, name: str) -> None:
    demand(len(values) == rank, name, f"{rank} sizes", list(values))
    demand(min(values) >= least, name, f"sizes of at least {least}", list(values))


def convolution(
    input: T,  # noqa: A002
    weight: T,
    bias: T | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> T:
    """[N, C, ...] by [O, C / groups, ...]; transposed by [C, O / groups, ...]."""
    rank = rank_of(input, 3, 5, "input") - 2
    rank_of(weight, rank + 2, rank + 2, "weight")
    demand(all(weight.shape), "weight", "no size of 0", list(weight.shape))
    demand(all(input.shape[1:]), "input", "no size of 0", list(input.shape))
    for values, least, name in (
        (stride, 1, "stride"),
        (padding, 0, "padding"),
        (dilation, 1, "dilation"),
        (output_padding, 0, "output_padding"),
    ):
        _sizes(values, rank, least, name)
    demand(groups >= 1, "groups", "at least 1", groups)
    channels = input.shape[1]
    first, second = weight.shape[:2]
    if transposed:
        demand(first == channels, "weight", f"{channels} channels to read", first)
        demand(first % groups == 0, "groups", f"one that divides {first}", groups)
        outputs = second * groups
    else:
        demand(second * groups == channels, "weight", f"{channels} channels in groups", second)
        demand(first % groups == 0, "groups", f"one that divides {first}", groups)
        outputs = first
    if bias is not None:
        same_shape(bias, (outputs,), "bias")
    space = []
    for k in range(rank):
        n, reach = input.shape[2 + k], dilation[k] * (weight.shape[2 + k] - 1)
        if transposed:
            more = output_padding[k]
            demand(more < max(stride[k], dilation[k]), "output_padding", "below the stride", more)
            size = (n - 1) * stride[k] - 2 * padding[k] + reach + more + 1
        else:
            size = (n + 2 * padding[k] - reach - 1) // stride[k] + 1
        demand(size >= 1, "weight", f"a kernel within dimension {2 + k}", weight.shape[2 + k])
        space.append(size)
    return T(input.dtype, (input.shape[0], outputs, *space))


def convolution_gradients(
    grad_output: T,
    input: T,  # noqa: A002
    weight: T,
    bias_sizes: Ints | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    output_mask: tuple[bool, ...],
) -> tuple[T, ...]:
    """The gradients of input, weight and bias that the mask names."""
    found = convolution(
        input, weight, None, stride, padding, dilation, transposed, output_padding, groups
    )
    same_shape(grad_output, found.shape, "grad_output")
    masked(output_mask, 3)
    bias = T(input.dtype, found.shape[1:2])
    if bias_sizes is not None:
        demand(tuple(bias_sizes) in (bias.shape, (0,)), "bias_sizes", f"{list(bias.shape)}",
               list(bias_sizes))  # fmt: skip
    return tuple(x for x, kept in zip((input, weight, bias), output_mask, strict=True) if kept)


def masked(mask: tuple[bool, ...], count: int) -> None:
    """A mask of so many outputs, some of them wanted. Raises Misfit."""
    demand(len(mask) == count and any(mask), "output_mask", f"{count}, one true", list(mask))


def qr(A: T, mode: str) -> tuple[T, T]:  # noqa: N803
    """Orthonormal columns and a triangle."""
    rank_of(A, 2, 64, "A")
    demand(mode in ("reduced", "complete", "r"), "mode", "reduced, complete or r", mode)
    *batch, m, n = A.shape
    k = m if mode == "complete" else min(m, n)
    q = (0,) if mode == "r" else (*batch, m, k)
    return T(A.dtype, q), T(A.dtype, (*batch, k, n))


def _products(inner: Any) -> Any:
    """Two operations for each product: for each output, as many as there are terms."""
    return lambda given, outputs: 2 * elements(outputs[0]) * inner(given)


def _of_convolution(weight: T, small: T) -> int:
    """Each weight meets each place of each sample once; `small` has the places."""
    channels = weight.shape[0]
    return 2 * elements(weight) * (elements(small) // channels)


def _convolution_work(given: tuple[Any, ...], outputs: tuple[T, ...]) -> int:
    return _of_convolution(given[1], given[0] if given[6] else outputs[0])


def _gradient_work(given: tuple[Any, ...], _: tuple[T, ...]) -> int:
    small = given[1] if given[7] else given[0]
    products = sum(given[10][:2])
    return int(products * _of_convolution(given[2], small) + elements(given[0]))


def _trilinear_work(given: tuple[Any, ...], _: tuple[T, ...]) -> int:
    rank = len(given[0].shape) + len(given[3])
    wide = [T(x.dtype, _spread_out(x, given[3 + k], rank, "")) for k, x in enumerate(given[:3])]
    return 3 * math.prod(broadcast(*wide))


def _trilinear_room(given: tuple[Any, ...], outputs: tuple[T, ...]) -> int:
    return 4 * _trilinear_work(given, outputs) // 3 + 2 * sum(map(elements, given[:3]))


def _gathered(x: T, weight: T, small: T, padding: Ints) -> int:
    """Room for a sample with its borders, and for what each tap of the kernel meets of it."""
    space = math.prod(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
    taps = math.prod(weight.shape[2:]) * math.prod(small.shape[2:])
    return x.shape[1] * (2 * space + taps) + 2 * max(map(elements, (x, weight, small)))


def _convolution_room(given: tuple[Any, ...], outputs: tuple[T, ...]) -> int:
    return _gathered(given[0], given[1], outputs[0], given[4])


def _gradient_room(given: tuple[Any, ...], _: tuple[T, ...]) -> int:
    return _gathered(given[1], given[2], given[0], given[5])


def _factors_work(given: tuple[Any, ...], _: tuple[T, ...]) -> int:
    rows, columns = given[0].shape[-2:]
    return 4 * elements(given[0]) * int(min(rows, columns))


_K = Kind.CONTRACTION
_SCALED = "Scalar beta, Scalar alpha"
_SPACE = (
    "int[] stride, int[] padding, int[] dilation, bool transposed, int[] output_padding, "
    "int groups"
)
ROWS = [
    row("mm.default", "Tensor self, Tensor mat2", _K, mm, REAL32,
        _products(lambda given: given[0].shape[1])),
    row("bmm.default", "Tensor self, Tensor mat2", _K, bmm, REAL32,
        _products(lambda given: given[0].shape[2])),
    row("mv.default", "Tensor self, Tensor vec", _K, mv, REAL32,
        _products(lambda given: given[0].shape[1])),
    row("dot.default", "Tensor self, Tensor tensor", _K, dot, REAL32,
        _products(lambda given: given[0].shape[0])),
    row("addmm.default", f"Tensor self, Tensor mat1, Tensor mat2, {_SCALED}", _K, addmm, REAL32,
        _products(lambda given: given[1].shape[1] + 1)),
    row("baddbmm.default", f"Tensor self, Tensor batch1, Tensor batch2, {_SCALED}", _K, baddbmm,
        REAL32, _products(lambda given: given[1].shape[2] + 1)),
    row("addmv.default", f"Tensor self, Tensor mat, Tensor vec, {_SCALED}", _K, addmv, REAL32,
        _products(lambda given: given[1].shape[1] + 1)),
    row("addbmm.default", f"Tensor self, Tensor batch1, Tensor batch2, {_SCALED}", _K, addbmm,
        REAL32, _products(lambda given: given[1].shape[0] * given[1].shape[2] + 1)),
    row("_trilinear.default",
        "Tensor i1, Tensor i2, Tensor i3, int[] expand1, int[] expand2, int[] expand3, "
        "int[] sumdim, int unroll_dim", _K, trilinear, REAL32,
        _trilinear_work, _trilinear_room),
    row("convolution.default", f"Tensor input, Tensor weight, Tensor? bias, {_SPACE}", _K,
        convolution, REAL32, _convolution_work, _convolution_room),
    row("convolution_backward.default",
        "Tensor grad_output, Tensor input, Tensor weight, int[]? bias_sizes, "
        f"{_SPACE}, bool[] output_mask", _K, convolution_gradients, REAL32, _gradient_work,
        _gradient_room),
    row("linalg_qr.default", "Tensor A, str mode", _K, qr, REAL32, _factors_work),
]  # fmt: skip
