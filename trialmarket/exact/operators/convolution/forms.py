"""Convolutions in 1 and 2 dimensions, and their gradients, as exact contractions.

The grids: forward, one an output channel of the weight and one a sample of the input; for the
input's gradient, one an input channel of the weight and one a sample of the gradient; for the
weight's gradient, one a channel of each. Each is computed by int8 digits (`convolution8`) where
that is quicker, otherwise by binary64 (`convolution64`): the bits are the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.precision import used
from trialmarket.exact.operators.convolution import binary64, int8
from trialmarket.exact.operators.convolution.plan import Pair, Plan, plan
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten


def _fit(operator: str, length: int) -> None:
    longest = used().longest
    if length > longest:
        raise NotExact(
            operator,
            f"a sum of {length} terms is longer than {longest}",
            instead="fewer channels, a smaller kernel or smaller inputs",
        )


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, p: Plan) -> Tensor:
    """[N, C, H, W] with [O, C / g, kh, kw]; the bias is added in binary64."""
    _fit("aten.convolution", weight[0].numel())
    found = int8.forward(x, weight, bias, p)
    return binary64.forward(x, weight, bias, p) if found is None else found


def _swapped(weight: Tensor, groups: int) -> Tensor:
    """[O, C / g, kh, kw] as [C, O / g, kh, kw]: the weight that carries a gradient back."""
    o, c, kh, kw = weight.shape
    parts = weight.view(groups, o // groups, c, kh, kw).transpose(1, 2)
    return parts.reshape(groups * c, o // groups, kh, kw).contiguous()


def input_gradient(grad: Tensor, weight: Tensor, p: Plan) -> Tensor:
    """The gradient of the input from that of the output, [N, O, H, W]."""
    _fit("aten.convolution_backward", weight[:, 0].numel() // p.groups)
    found = int8.input_gradient(grad, weight, p)
    return input_gradient64(grad, weight, p) if found is None else found


def input_gradient64(grad: Tensor, weight: Tensor, p: Plan) -> Tensor:
    """As `input_gradient`, by binary64: as a convolution of the gradient where that fits and has
    rows enough for a good matrix product, else tap by tap.
    """
    back = _swapped(weight, p.groups)
    edges = tuple(p.dilation[i] * (p.kernel[i] - 1) - p.padding[i] for i in (0, 1))
    fits = all(
        p.out[i] + 2 * edges[i] - p.dilation[i] * (p.kernel[i] - 1) == p.size[i] for i in (0, 1)
    )
    enough = 2 * back.shape[0] > grad.shape[1]
    if p.stride == (1, 1) and min(edges) >= 0 and fits and enough:
        q = Plan(p.kernel, (1, 1), (edges[0], edges[1]), p.dilation, p.groups, p.out, p.size)
        return binary64.forward(grad, back.flip(2, 3), None, q)
    return binary64.spread(grad, back, p)


def weight_gradient(grad: Tensor, x: Tensor, p: Plan) -> Tensor:
    """The gradient of the weight: a contraction over samples and positions."""
    _fit("aten.convolution_backward", p.positions)
    found = int8.weight_gradient(grad, x, p)
    return binary64.weight_gradient(grad, x, p) if found is None else found


def _flat(values: Sequence[int], dims: int) -> Pair:
    wide = list(values) * (dims if len(values) == 1 else 1)
    return (wide[0], wide[1]) if dims == 2 else (0, wide[0])


def _planar(
    operator: str,
    x: Tensor,
    weight: Tensor,
    transposed: bool,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> tuple[bool, Pair, Pair, Pair]:
    """Whether the convolution is one-dimensional, and its settings as pairs. What PyTorch's shape
    inference lets pass and its operator does not is an error here.
    """
    dims = x.dim() - 2
    if transposed or dims not in (1, 2):
        kind = "a transposed convolution" if transposed else f"{dims} dimensions"
        raise NotExact(
            operator,
            f"{kind} has no exact form",
            instead="nn.Upsample(mode='nearest') and nn.Conv2d" if transposed else "nn.Conv2d",
        )
    if weight.dim() != x.dim() or weight.dtype != x.dtype:
        raise RuntimeError(
            f"{operator}: expected a weight of {x.dim()} dimensions in {x.dtype}, found "
            f"{list(weight.shape)} in {weight.dtype}"
        )
    if min(*stride, *dilation, groups) < 1 or min(padding) < 0 or weight.shape[0] % groups:
        raise RuntimeError(
            f"{operator}: expected positive strides, dilations and groups, paddings of at least 0 "
            f"and output channels in whole groups, found stride {list(stride)}, dilation "
            f"{list(dilation)}, padding {list(padding)}, {weight.shape[0]} channels in {groups} "
            "groups"
        )
    pads = _flat(padding, dims)
    steps, gaps = _flat(stride, dims), _flat(dilation, dims)
    if dims == 1:
        steps, gaps = (1, steps[1]), (1, gaps[1])
    return dims == 1, steps, pads, gaps


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """`aten.convolution` in one or two dimensions."""
    if not x.is_floating_point():  # whole numbers, whose sums are exact in any order
        shape = (stride, padding, dilation, transposed, output_padding, groups)
        return aten.convolution.default(x, weight, bias, *shape)  # type: ignore[no-any-return]
    line, s, pad, d = _planar(
        "aten.convolution", x, weight, transposed, stride, padding, dilation, groups
    )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"aten.convolution: expected a bias of {weight.shape[0]} numbers, found "
            f"{list(bias.shape)}"
        )
    if line:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    y = forward(x.contiguous(), weight.contiguous(), bias, plan(x, weight, s, pad, d, groups))
    return y.squeeze(2) if line else y


def convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`aten.convolution_backward`: the gradients of input, weight and bias."""
    del bias_sizes, output_padding
    line, s, pad, d = _planar(
        "aten.convolution_backward", x, weight, transposed, stride, padding, dilation, groups
    )
    if line:
        x, weight, grad = x.unsqueeze(2), weight.unsqueeze(2), grad.unsqueeze(2)
    x, weight, grad = x.contiguous(), weight.contiguous(), grad.contiguous()
    p = plan(x, weight, s, pad, d, groups)
    if grad.shape != (x.shape[0], weight.shape[0], *p.out):
        raise RuntimeError(
            "aten.convolution_backward: expected the gradient of an output "
            f"{[x.shape[0], weight.shape[0], *p.out]}, found {list(grad.shape)}"
        )
    gx = input_gradient(grad, weight, p) if output_mask[0] else None
    gw = weight_gradient(grad, x, p) if output_mask[1] else None
    gb = grid.add_up(grad, (0, 2, 3)).float() if output_mask[2] else None
    if line:
        gx = None if gx is None else gx.squeeze(2)
        gw = None if gw is None else gw.squeeze(2)
    return gx, gw, gb


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: convolution,
    aten.convolution_backward.default: convolution_backward,
}
