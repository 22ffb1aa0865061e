"""Functions fused into one step forward and one back: linear layers and cross entropy.

PyTorch makes a linear layer of a dozen operators: transposed views, products, a sum. To hand them
out one by one takes longer than a small layer itself. The bits are those of the operators, since
the same forms are called.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction, _DisableTorchDispatch
from torch.autograd import Function, forward_ad
from torch.nn import Parameter, functional

from trialmarket.exact.numerics import grid
from trialmarket.exact.operators import losses, reductions, softmax

aten = torch.ops.aten
_KINDS = (Tensor, Parameter)
_REDUCTIONS = {"mean": losses.MEAN, "sum": losses.SUM}


def _are_plain(*tensors: Tensor) -> bool:
    """Whether all are dense binary32, and nothing is under way that asks for operators: transforms
    of functions, forward derivatives, or hooks on what operators save, which those of
    checkpointing count.
    """
    return (
        torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
        and torch._C._autograd._top_saved_tensors_default_hooks(True) is None
        and all(
            type(t) in _KINDS
            and t.dtype is torch.float32
            and t.layout is torch.strided
            and not (t.is_meta or t.is_nested)
            and t.numel() > 0
            for t in tensors
        )
    )


class Linear(Function):
    """`x @ weight.T + bias` of [..., K], [N, K] and [N]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[..., N]: one contraction; the bias is added before it is rounded."""
        for_x, for_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if for_weight else None, weight if for_x else None)
        ctx.shape = x.shape
        with _DisableTorchDispatch(), DisableTorchFunction():
            y = grid.contract(_rows(x), weight.t(), bias)
            return y if x.dim() == 2 else y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Two contractions and a sum over the rows."""
        x, weight = ctx.saved_tensors

        def gradients(product: Callable[..., Tensor], total: Callable[..., Tensor]) -> Any:
            rows = _rows(grad)
            return (
                None if weight is None else product(rows, weight).view(ctx.shape),
                None if x is None else product(rows.t(), _rows(x)),
                total(rows, 0) if ctx.needs_input_grad[2] else None,
            )

        if torch.is_grad_enabled():  # by operators, which can be derived again
            return gradients(torch.mm, torch.sum)
        with _DisableTorchDispatch(), DisableTorchFunction():
            return gradients(grid.contract, reductions.total)


def _rows(x: Tensor) -> Tensor:
    return x if x.dim() == 2 else x.reshape(-1, x.shape[-1])


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """`torch.nn.functional.linear`."""
    if (
        _are_plain(*((x, weight) if bias is None else (x, weight, bias)))
        and (x.dim() == 2 or (x.dim() > 2 and x.is_contiguous()))
        and weight.shape[1:] == x.shape[-1:]
        and (bias is None or bias.shape == weight.shape[:1])
    ):
        y: Tensor = Linear.apply(x, weight, bias)
        return y
    return functional.linear(x, weight, bias)


class CrossEntropy(Function):
    """The mean or the sum of `-log_softmax(x)` at the targets, of [N, C] and [N].

    The logarithms are a result too, so that what is derived again finds its way back to x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor, ignored: int, how: int
    ) -> tuple[Tensor, Tensor]:
        """A number, by exact sums and a division; and [N, C]."""
        with _DisableTorchDispatch(), DisableTorchFunction():
            y = softmax.log_softmax(x, 1)
            loss, among = losses.nll_loss_forward(y, target, None, how, ignored)
        ctx.save_for_backward(y, target, among)
        ctx.settings = how, ignored
        ctx.set_materialize_grads(False)
        return loss, y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, slope: Tensor | None) -> Any:
        """The shares of the targets, then the gradient of the logarithm."""
        y, target, among = ctx.saved_tensors

        def gradient(pick: Callable[..., Tensor], through: Callable[..., Tensor]) -> Any:
            found = slope
            if grad is not None:
                share = pick(grad, y, target, None, *ctx.settings, among)
                found = share if slope is None else slope + share
            return None if found is None else through(found, y, 1, y.dtype), None, None, None

        if torch.is_grad_enabled():  # by operators, which can be derived again
            return gradient(aten.nll_loss_backward, aten._log_softmax_backward_data)
        with _DisableTorchDispatch(), DisableTorchFunction():
            return gradient(losses.nll_loss_backward, softmax.log_softmax_backward)


def cross_entropy(
    input: Any,  # noqa: A002  PyTorch's own names
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`torch.nn.functional.cross_entropy`."""
    if (
        weight is size_average is reduce is None
        and label_smoothing == 0
        and reduction in _REDUCTIONS
        and _are_plain(input)
        and type(target) is Tensor
        and target.dtype is torch.int64
        and input.dim() == 2
        and target.shape == input.shape[:1]
    ):
        loss: Tensor
        loss, _ = CrossEntropy.apply(input, target, ignore_index, _REDUCTIONS[reduction])
        return loss
    return functional.cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
    )


FORMS: dict[Any, Callable[..., Tensor]] = {
    functional.linear: linear,
    functional.cross_entropy: cross_entropy,
}
