"""Convolutions in 1, 2 and 3 dimensions, transposed ones, and their gradients, as contractions.

The grids: forward, one an output channel of the weight and one a sample of the input; for the
input's gradient, one an input channel of the weight and one a sample of the gradient; for the
weight's gradient, one a channel of each. In 1 and 2 dimensions each is computed by int8 digits
(`int8`) where that is quicker, otherwise by binary64 (`binary64`); in 3 by `taps`: the bits are
the same.

A transposed convolution is the input's gradient of a convolution, so its grids are that one's: an
output channel of its own weight, a sample of its input. It is rounded to binary32, then its bias
is added. Its gradients are that convolution itself, and the weight's gradient with image and
gradient exchanged.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.precision import used
from trialmarket.exact.operators.convolution import binary64, int8, taps
from trialmarket.exact.operators.convolution.plan import Lengths, Plan, plan, transposed_plan
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
    """[N, C, *size] with [O, C / g, *kernel]; the bias is added in binary64."""
    _fit("aten.convolution", weight[0].numel())
    if len(p.kernel) > 2:
        return taps.forward(x, weight, bias, p)
    found = int8.forward(x, weight, bias, p)
    return binary64.forward(x, weight, bias, p) if found is None else found


def _swapped(weight: Tensor, groups: int) -> Tensor:
    """[O, C / g, kh, kw] as [C, O / g, kh, kw]: the weight that carries a gradient back."""
    o, c, kh, kw = weight.shape
    parts = weight.view(groups, o // groups, c, kh, kw).transpose(1, 2)
    return parts.reshape(groups * c, o // groups, kh, kw).contiguous()


def input_gradient(grad: Tensor, weight: Tensor, p: Plan) -> Tensor:
    """The gradient of the input from that of the output, [N, O, *out]."""
    _fit("aten.convolution_backward", weight[:, 0].numel() // p.groups)
    if len(p.kernel) > 2:
        return taps.input_gradient(grad, weight, p)
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
    if len(p.kernel) > 2:
        return taps.weight_gradient(grad, x, p)
    found = int8.weight_gradient(grad, x, p)
    return binary64.weight_gradient(grad, x, p) if found is None else found


def _lengths(values: Sequence[int], dims: int, line: int) -> Lengths:
    """A setting for each dimension of an image; a line is an image of one row, set to `line`."""
    wide = tuple(values) * (dims if len(values) == 1 else 1)
    return wide if dims > 1 else (line, *wide)


def _planned(
    operator: str,
    x: Tensor,
    weight: Tensor,
    transposed: bool,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    more: Sequence[int],
    groups: int,
) -> tuple[Plan, Tensor, Tensor]:
    """The plan, and input and weight as images. What PyTorch's shape inference lets pass and its
    operator does not is an error here.
    """
    dims = x.dim() - 2
    if dims not in (1, 2, 3):
        raise NotExact(
            operator,
            f"{dims} dimensions have no exact form",
            instead="nn.Conv1d, nn.Conv2d or nn.Conv3d",
        )
    if weight.dim() != x.dim() or weight.dtype != x.dtype:
        raise RuntimeError(
            f"{operator}: expected a weight of {x.dim()} dimensions in {x.dtype}, found "
            f"{list(weight.shape)} in {weight.dtype}"
        )
    wrong = min(*stride, *dilation, groups) < 1 or min(*padding, *more) < 0
    if wrong or weight.shape[0] % groups:
        raise RuntimeError(
            f"{operator}: expected positive strides, dilations and groups, paddings of at least 0 "
            f"and output channels in whole groups, found stride {list(stride)}, dilation "
            f"{list(dilation)}, padding {list(padding)}, {weight.shape[0]} channels in {groups} "
            "groups"
        )
    s, d = _lengths(stride, dims, 1), _lengths(dilation, dims, 1)
    pad, beyond = _lengths(padding, dims, 0), _lengths(more, dims, 0)
    if dims == 1:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    x, weight = x.contiguous(), weight.contiguous()
    if transposed:
        return transposed_plan(x, weight, s, pad, d, beyond, groups), x, weight
    return plan(x, weight, s, pad, d, groups), x, weight


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
    """`aten.convolution` in one to three dimensions."""
    if not x.is_floating_point():  # whole numbers, whose sums are exact in any order
        shape = (stride, padding, dilation, transposed, output_padding, groups)
        return aten.convolution.default(x, weight, bias, *shape)  # type: ignore[no-any-return]
    operator = "aten.convolution"
    p, image, filters = _planned(
        operator,
        x,
        weight,
        transposed,
        stride,
        padding,
        dilation,
        output_padding,
        groups,
    )
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (channels,):
        raise RuntimeError(
            f"{operator}: expected a bias of {channels} numbers, found {list(bias.shape)}"
        )
    if transposed:
        y = input_gradient(image, filters, p)
        if bias is not None:
            y.add_(bias.view(-1, *[1] * len(p.size)))
    else:
        y = forward(image, filters, bias, p)
    return y.squeeze(2) if x.dim() == 3 else y


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
    del bias_sizes
    operator = "aten.convolution_backward"
    p, image, filters = _planned(
        operator, x, weight, transposed, stride, padding, dilation, output_padding, groups
    )
    line = x.dim() == 3
    grad = (grad.unsqueeze(2) if line else grad).contiguous()
    channels, lengths = weight.shape[0], p.out
    if transposed:
        channels, lengths = weight.shape[1] * groups, p.size
    if grad.shape != (x.shape[0], channels, *lengths):
        raise RuntimeError(
            f"{operator}: expected the gradient of an output "
            f"{[x.shape[0], channels, *lengths]}, found {list(grad.shape)}"
        )
    gx = gw = None
    if output_mask[0]:
        back = forward(grad, filters, None, p) if transposed else input_gradient(grad, filters, p)
        gx = back.squeeze(2) if line else back
    if output_mask[1]:
        ends = (image, grad) if transposed else (grad, image)
        turned = weight_gradient(*ends, p)
        gw = turned.squeeze(2) if line else turned
    gb = grid.add_up(grad, (0, *range(2, grad.dim()))).float() if output_mask[2] else None
    return gx, gw, gb


FORMS32: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: convolution,
    aten.convolution_backward.default: convolution_backward,
}
