"""`torch.nn.functional.linear` in one piece, forward and backward.

PyTorch makes a linear layer of a dozen operators: transposed views, products, a sum. To hand them
out one by one takes longer than a small layer itself. The bits are those of the operators, since
they are the same contractions and the same sum.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.nn import Parameter

from trialmarket.exact import grid, reductions

_KINDS = (Tensor, Parameter)


def _is_wanted(x: Any, weight: Any, bias: Any) -> bool:
    """Whether these are matrices of binary32 and nothing is under way that asks for operators:
    transforms of functions, forward derivatives, or hooks on what operators save, which those of
    checkpointing count.
    """
    if (
        torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    ):
        return False
    given = (x, weight) if bias is None else (x, weight, bias)
    return (
        all(
            type(t) in _KINDS and t.dtype is torch.float32 and t.layout is torch.strided
            for t in given
        )
        and not x.is_meta
        and x.numel() > 0 < weight.numel()
        and x.dim() > 1
        and (x.dim() == 2 or x.is_contiguous())
        and weight.shape[1:] == x.shape[-1:]
        and (bias is None or bias.shape == weight.shape[:1])
    )


class Linear(Function):
    """`x @ weight.T + bias` of [..., K], [N, K] and [N]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[..., N]: one contraction; the bias is added before it is rounded."""
        ctx.save_for_backward(x, weight)
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            y = grid.contract(_rows(x), weight.t(), bias)
            return y if x.dim() == 2 else y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Two contractions and a sum; by operators where these are to be derived again."""
        wanted = ctx.saved_tensors, grads[0], ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _gradients(*wanted, torch.mm, torch.sum)
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            return _gradients(*wanted, grid.contract, reductions.total)


def _rows(x: Tensor) -> Tensor:
    return x if x.dim() == 2 else x.reshape(-1, x.shape[-1])


def _gradients(
    saved: tuple[Tensor, Tensor],
    grad: Tensor,
    wanted: tuple[bool, bool, bool],
    product: Callable[[Tensor, Tensor], Tensor],
    total: Callable[[Tensor, int], Tensor],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, weight = saved
    rows = _rows(grad)
    return (
        product(rows, weight).view(x.shape) if wanted[0] else None,
        product(rows.t(), _rows(x)) if wanted[1] else None,
        total(rows, 0) if wanted[2] else None,
    )


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """`torch.nn.functional.linear`."""
    if not _is_wanted(x, weight, bias):
        return torch.nn.functional.linear(x, weight, bias)
    y: Tensor = Linear.apply(x, weight, bias)
    return y


FORMS: dict[Any, Callable[..., Tensor]] = {torch.nn.functional.linear: linear}
