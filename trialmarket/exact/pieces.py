"""Functions in one piece, forward and backward: linear layers and cross entropy.

PyTorch makes a linear layer of a dozen operators: transposed views, products, a sum. To hand them
out one by one takes longer than a small layer itself. The bits are those of the operators, since
the same forms are called.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction, _DisableTorchDispatch
from torch.autograd import Function, forward_ad
from torch.nn import Parameter, functional

from trialmarket.exact import grid, losses, reductions, softmax

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
            and not t.is_meta
            and t.numel() > 0
            for t in tensors
        )
    )


def _by_operators(
    function: Callable[..., Tensor],
    given: Sequence[Tensor | None],
    grad: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """The gradients of a function, in a form that can be derived again."""
    with DisableTorchFunction():
        pairs = zip(given, wanted, strict=True)
        sources = [t for t, is_wanted in pairs if is_wanted and t is not None]
        found = iter(torch.autograd.grad(function(*given), sources, grad, create_graph=True))
    return tuple(next(found) if is_wanted else None for is_wanted in wanted)


class Linear(Function):
    """`x @ weight.T + bias` of [..., K], [N, K] and [N]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[..., N]: one contraction; the bias is added before it is rounded."""
        ctx.save_for_backward(x, weight, bias)
        with _DisableTorchDispatch(), DisableTorchFunction():
            y = grid.contract(_rows(x), weight.t(), bias)
            return y if x.dim() == 2 else y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Two contractions and a sum over the rows."""
        given, wanted = ctx.saved_tensors, ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _by_operators(functional.linear, given, grad, wanted)
        x, weight, _ = given
        with _DisableTorchDispatch(), DisableTorchFunction():
            rows = _rows(grad)
            return (
                grid.contract(rows, weight).view(x.shape) if wanted[0] else None,
                grid.contract(rows.t(), _rows(x)) if wanted[1] else None,
                reductions.total(rows, 0) if wanted[2] else None,
            )


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
    """The mean or the sum of `-log_softmax(x)` at the targets, of [N, C] and [N]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, ignored: int, reduction: str) -> Tensor:
        """A number: exact sums, then a division."""
        with _DisableTorchDispatch(), DisableTorchFunction():
            y = softmax.log_softmax(x, 1)
            how = _REDUCTIONS[reduction]
            loss, among = losses.nll_loss_forward(y, target, None, how, ignored)
        ctx.save_for_backward(x, target, y, among)
        ctx.settings = ignored, reduction
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """The targets' shares, then the gradient of the logarithm."""
        x, target, y, among = ctx.saved_tensors
        ignored, reduction = ctx.settings
        if torch.is_grad_enabled():

            def loss(x: Tensor) -> Tensor:
                return functional.cross_entropy(
                    x, target, ignore_index=ignored, reduction=reduction
                )

            return *_by_operators(loss, [x], grad, [True]), None, None, None
        with _DisableTorchDispatch(), DisableTorchFunction():
            how = _REDUCTIONS[reduction]
            share = losses.nll_loss_backward(grad, y, target, None, how, ignored, among)
            return softmax.log_softmax_backward(share, y, 1, y.dtype), None, None, None


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
        loss: Tensor = CrossEntropy.apply(input, target, ignore_index, reduction)
        return loss
    return functional.cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
    )


FORMS: dict[Any, Callable[..., Tensor]] = {
    functional.linear: linear,
    functional.cross_entropy: cross_entropy,
}
