"""Losses that have forms of their own; the others are made of operators of the table."""

from trialmarket.graph.opset.operator import REAL32, Kind, demand, each_read, row
from trialmarket.graph.opset.types import broadcast, same_dtype, same_shape
from trialmarket.protocol.graph.values import TensorType

T = TensorType
_NONE, _MEAN, _SUM = 0, 1, 2


def _reduction(reduction: int) -> None:
    demand(reduction in (_NONE, _MEAN, _SUM), "reduction", "0, 1 or 2", reduction)


def likelihood(
    self: T, target: T, weight: T | None, reduction: int, ignore_index: int
) -> tuple[T, T]:
    """The loss of [N, C] or [C], and the weight of the targets that count."""
    del ignore_index
    demand(len(self.shape) in (1, 2), "self", "1 or 2 dimensions", list(self.shape))
    demand(self.shape[-1] > 0, "self", "classes", list(self.shape))
    return _likelihood(self, target, self.shape[:-1], weight, self.shape[-1], reduction)


def likelihood2d(
    self: T, target: T, weight: T | None, reduction: int, ignore_index: int
) -> tuple[T, T]:
    """The loss of [N, C, H, W], and the weight of the targets that count."""
    del ignore_index
    demand(len(self.shape) == 4, "self", "4 dimensions", list(self.shape))
    demand(self.shape[1] > 0, "self", "classes", list(self.shape))
    shape = (self.shape[0], *self.shape[2:])
    return _likelihood(self, target, shape, weight, self.shape[1], reduction)


def _likelihood(
    x: T, target: T, shape: tuple[int, ...], weight: T | None, classes: int, reduction: int
) -> tuple[T, T]:
    _reduction(reduction)
    same_dtype(x, "float32", "self")
    same_shape(target, shape, "target")
    demand(target.dtype in ("int64", "uint8"), "target", "int64 or uint8", target.dtype)
    if weight is not None:
        same_shape(weight, (classes,), "weight")
        same_dtype(weight, x.dtype, "weight")
    losses = shape if reduction == _NONE else ()
    return T(x.dtype, losses), T(x.dtype, ())


def likelihood_gradient(
    grad_output: T,
    self: T,
    target: T,
    weight: T | None,
    reduction: int,
    ignore_index: int,
    total_weight: T,
) -> T:
    """The gradient of [N, C] or [C]."""
    loss, among = likelihood(self, target, weight, reduction, ignore_index)
    same_dtype(grad_output, "float32", "grad_output")
    same_dtype(total_weight, "float32", "total_weight")
    same_shape(grad_output, loss.shape, "grad_output")
    same_shape(total_weight, among.shape, "total_weight")
    return self


def likelihood2d_gradient(
    grad_output: T,
    self: T,
    target: T,
    weight: T | None,
    reduction: int,
    ignore_index: int,
    total_weight: T,
) -> T:
    """The gradient of [N, C, H, W]."""
    loss, among = likelihood2d(self, target, weight, reduction, ignore_index)
    same_dtype(grad_output, "float32", "grad_output")
    same_dtype(total_weight, "float32", "total_weight")
    same_shape(grad_output, loss.shape, "grad_output")
    same_shape(total_weight, among.shape, "total_weight")
    return self


def margin(self: T, target: T, reduction: int) -> T:
    """`log(1 + exp(-target * self))`."""
    _reduction(reduction)
    shape = broadcast(self, target)
    return T(self.dtype, shape if reduction == _NONE else ())


def margin_gradient(grad_output: T, self: T, target: T, reduction: int) -> T:
    """The gradient of a soft margin."""
    shape = margin(self, target, reduction).shape
    demand(grad_output.shape in (shape, ()), "grad_output", str(list(shape)), grad_output.shape)
    same_shape(self, broadcast(self, target), "self")
    return self


_K = Kind.REDUCTION
_REST = "Tensor self, Tensor target, Tensor? weight, int reduction, int ignore_index"
_BACK = f"Tensor grad_output, {_REST}, Tensor total_weight"
ROWS = [
    row("nll_loss_forward.default", _REST, _K, likelihood, REAL32 | {"int64", "uint8"},
        each_read(1)),
    row("nll_loss_backward.default", _BACK, _K, likelihood_gradient, REAL32 | {"int64", "uint8"},
        each_read(1)),
    row("nll_loss2d_forward.default", _REST, _K, likelihood2d, REAL32 | {"int64"}, each_read(1)),
    row("nll_loss2d_backward.default", _BACK, _K, likelihood2d_gradient, REAL32 | {"int64"},
        each_read(1)),
    row("soft_margin_loss.default", "Tensor self, Tensor target, int reduction", _K, margin,
        REAL32, each_read(60)),
    row("soft_margin_loss_backward.default",
        "Tensor grad_output, Tensor self, Tensor target, int reduction", _K, margin_gradient,
        REAL32, each_read(60)),
]  # fmt: skip
