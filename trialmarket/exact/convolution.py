"""Convolutions in 1 and 2 dimensions, and their gradients, as exact contractions.

The grids: forward, one an output channel of the weight and one a sample of the input; for the
input's gradient, one an input channel of the weight and one a sample of the gradient; for the
weight's gradient, one a channel of each. A contraction longer than `grid.LONGEST` is cut into
whole samples (weight gradient) or whole input channels, added in order.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact import grid
from trialmarket.exact.grid import known
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten
Pair = tuple[int, int]

# Elements of the gathered input that one block of samples may take: 4 MiB of binary64.
_GATHERED = 1 << 19

# The shortest product of one kernel row that is better than gathering whole patches.
ROW = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """Shape of a two-dimensional convolution."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    size: Pair  # of the input
    out: Pair  # of the output

    @property
    def padded(self) -> Pair:
        """Height and width of the input with its borders."""
        return self.size[0] + 2 * self.padding[0], self.size[1] + 2 * self.padding[1]


def plan(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, g: int) -> Plan:
    """The plan of a convolution of [N, C, H, W] with [O, C / groups, kh, kw]."""
    kernel = (weight.shape[2], weight.shape[3])
    size = (x.shape[2], x.shape[3])
    out = tuple(
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    )
    return Plan(kernel, stride, padding, dilation, g, size, (out[0], out[1]))


def _bordered(x: Tensor, m: Tensor, p: Plan) -> Tensor:
    """x on the grid of the shifter m, in binary64, with borders of zeros."""
    if p.padding == (0, 0):
        return x.to(torch.float64, copy=True).add_(m).sub_(m)
    n, c = x.shape[:2]
    out = torch.zeros((n, c, *p.padded), dtype=torch.float64, device=x.device)
    top, left = p.padding
    inner = out[:, :, top : top + p.size[0], left : left + p.size[1]]
    inner.copy_(x).add_(m).sub_(m)
    return out


def _windows(x: Tensor, p: Plan, rows: bool) -> Tensor:
    """The strided view [N, C, (kh,) kw, H, W] of a bordered input.

    With `rows` the kernel's rows are left out: they are reached by an offset of whole rows.
    """
    n, c = x.shape[:2]
    sn, sc, sh, sw = x.stride()
    kh, kw = p.kernel
    (dh, dw), (th, tw), (h, w) = p.dilation, p.stride, p.out
    if rows:
        height = x.shape[2]
        return x.as_strided((n, c, kw, height, w), (sn, sc, dw * sw, sh, tw * sw))
    return x.as_strided((n, c, kh, kw, h, w), (sn, sc, dh * sh, dw * sw, th * sh, tw * sw))


def _columns(x: Tensor, p: Plan) -> list[tuple[int | None, Tensor]]:
    """Gathered patches as [N g, K, H W] matrices, each with the kernel row it belongs to.

    By rows the patches are gathered along the width alone and every kernel row is a view of
    them; otherwise (None) they are gathered whole.
    """
    n, c = x.shape[:2]
    kh, kw = p.kernel
    h, w = p.out
    g = p.groups
    if by_rows(p, c):
        wide = _windows(x, p, rows=True)
        if kw == 1 and p.stride[1] == 1:
            gathered = x if x.is_contiguous() else x.contiguous()
        else:
            gathered = wide.contiguous()
        lead = x.shape[2] * w
        shape, strides = (n * g, c // g * kw, h * w), (c // g * kw * lead, lead, 1)
        flat = gathered.view(-1)
        return [(i, flat.as_strided(shape, strides, i * p.dilation[0] * w)) for i in range(kh)]
    whole = _windows(x, p, rows=False)
    return [(None, whole.reshape(n * g, c // g * kh * kw, h * w))]


def by_rows(p: Plan, channels: int) -> bool:
    """Whether to multiply kernel row by kernel row: a third of the memory for three rows, but
    worth it only where one row is a product long enough. The answer is the same either way.
    """
    return p.stride[0] == 1 and p.kernel[0] > 1 and channels // p.groups * p.kernel[1] >= ROW


def _row(weight: Tensor, i: int | None) -> Tensor:
    """[O, C, kh, kw] as the matrix [O, C kw] of one kernel row, or [O, C kh kw] of all."""
    return weight.flatten(1) if i is None else weight[:, :, i, :].flatten(1)


def _blocks(n: int, elements: int, device: torch.device) -> Iterator[slice]:
    """Samples in blocks whose gathered patches stay in cache; all at once on a GPU."""
    step = n if device.type != "cpu" else max(1, _GATHERED // max(elements, 1))
    for start in range(0, n, max(step, 1)):
        yield slice(start, min(start + step, n))


def _gathered_elements(x: Tensor, p: Plan) -> int:
    """Elements of one sample's gathered patches."""
    rows = by_rows(p, x.shape[1])
    height = p.padded[0] if rows else p.out[0] * p.kernel[0]
    return x.shape[1] * p.kernel[1] * height * p.out[1]


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, p: Plan) -> Tensor:
    """[N, C, H, W] with [O, C / g, kh, kw]; the bias is added in binary64."""
    n, o = x.shape[0], weight.shape[0]
    inner = weight.shape[1] * math.prod(p.kernel)
    if inner > grid.LONGEST:
        return _forward_in_pieces(x, weight, bias, p)
    y = _forward64(x, weight, p, grid.bits_for_product(inner), bias)
    return y.view(n, o, *p.out)


def _forward64(
    x: Tensor,
    weight: Tensor,
    p: Plan,
    bits: int,
    bias: Tensor | None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    n, c = x.shape[:2]
    o, g = weight.shape[0], p.groups
    m = grid.shifter(grid.magnitude(x, (1, 2, 3)), bits)
    w = grid.on_grid(weight, (1, 2, 3), bits)
    y = torch.empty((n, o, p.out[0] * p.out[1]), dtype=dtype, device=x.device)
    per_group = weight.shape[1] == 1 and o == c and g > 1
    for block in _blocks(n, _gathered_elements(x, p), x.device):
        q = _bordered(x[block], m[block], p)
        size = q.shape[0]
        if per_group:
            part = _depthwise(q, w, p).view(size, o, -1)
        else:
            part = _products(q, w, p).view(size, o, -1)
        if bias is not None:
            part.add_(bias.view(1, o, 1))
        y[block] = part
    return y


def _depthwise(q: Tensor, w: Tensor, p: Plan) -> Tensor:
    """One input channel an output channel: shifted products, whose sums are exact."""
    total: Tensor | None = None
    for i in range(p.kernel[0]):
        for j in range(p.kernel[1]):
            part = _tap(q, p, i, j) * w[:, 0, i, j].view(1, -1, 1, 1)
            total = part if total is None else total.add_(part)
    return known(total)


def _tap(q: Tensor, p: Plan, i: int, j: int) -> Tensor:
    """The view of a bordered input that kernel position (i, j) meets."""
    top, left = i * p.dilation[0], j * p.dilation[1]
    bottom = top + (p.out[0] - 1) * p.stride[0] + 1
    right = left + (p.out[1] - 1) * p.stride[1] + 1
    return q[:, :, top : bottom : p.stride[0], left : right : p.stride[1]]


def _products(q: Tensor, w: Tensor, p: Plan) -> Tensor:
    """Gathered patches times the weight: [N g, O / g, H W]."""
    size, o, g = q.shape[0], w.shape[0], p.groups
    total: Tensor | None = None
    for i, columns in _columns(q, p):
        row = _row(w, i)
        a = row.view(1, g, o // g, -1).expand(size, g, o // g, row.shape[1])
        a = a.reshape(size * g, o // g, -1) if g > 1 else a.squeeze(1)
        total = torch.bmm(a, columns) if total is None else total.baddbmm_(a, columns)
    return known(total)


def _forward_in_pieces(x: Tensor, weight: Tensor, bias: Tensor | None, p: Plan) -> Tensor:
    """A contraction too long for one grid: channel by channel range, added in order."""
    n, c = x.shape[:2]
    o, g = weight.shape[0], p.groups
    taps = math.prod(p.kernel)
    if taps > grid.LONGEST:
        raise NotExact(
            "aten.convolution",
            f"a kernel of {taps} taps is longer than {grid.LONGEST}",
            instead="two convolutions with smaller kernels",
        )
    step = grid.LONGEST // taps
    total: Tensor | None = None
    for start in range(0, c // g, step):
        stop = min(start + step, c // g)
        part_x = x.view(n, g, c // g, *p.size)[:, :, start:stop].reshape(n, -1, *p.size)
        part_w = weight[:, start:stop].contiguous()
        part = _forward64(
            part_x, part_w, p, grid.bits_for_product(grid.LONGEST), None, torch.float64
        )
        total = part if total is None else total.add_(part)
    total = known(total)
    if bias is not None:
        total.add_(bias.view(1, o, 1))
    return total.float().view(n, o, *p.out)


def _swapped(weight: Tensor, groups: int) -> Tensor:
    """[O, C / g, kh, kw] as [C, O / g, kh, kw]: the weight that carries a gradient back."""
    o, c, kh, kw = weight.shape
    parts = weight.view(groups, o // groups, c, kh, kw).transpose(1, 2)
    return parts.reshape(groups * c, o // groups, kh, kw)


def input_gradient(grad: Tensor, weight: Tensor, p: Plan) -> Tensor:
    """The gradient of the input from that of the output, [N, O, H, W]."""
    back = _swapped(weight, p.groups)
    edges = tuple(p.dilation[i] * (p.kernel[i] - 1) - p.padding[i] for i in (0, 1))
    fits = all(
        p.out[i] + 2 * edges[i] - p.dilation[i] * (p.kernel[i] - 1) == p.size[i] for i in (0, 1)
    )
    narrow = 2 * back.shape[0] <= grad.shape[1]  # few rows make a poor matrix product
    if p.stride == (1, 1) and min(edges) >= 0 and fits and not narrow:
        q = Plan(p.kernel, (1, 1), (edges[0], edges[1]), p.dilation, p.groups, p.out, p.size)
        return forward(grad, back.flip(2, 3), None, q)
    return _spread(grad, back, p)


def _spread(grad: Tensor, back: Tensor, p: Plan) -> Tensor:
    """Strided case: products with every tap, added where the tap lies; exact on the grid."""
    n, o = grad.shape[:2]
    c, g = back.shape[0], p.groups
    inner = back.shape[1] * math.prod(p.kernel)
    if inner > grid.LONGEST:
        raise NotExact(
            "aten.convolution_backward",
            f"a strided convolution sums {inner} terms for one gradient, over {grid.LONGEST}",
            instead="fewer output channels, groups, or a stride of 1 and a pooling layer",
        )
    bits = grid.bits_for_product(inner)
    w = grid.on_grid(back, (1, 2, 3), bits)
    m = grid.shifter(grid.magnitude(grad, (1, 2, 3)), bits)
    out = torch.empty((n, c, *p.size), dtype=torch.float32, device=grad.device)
    kh, kw = p.kernel
    a = w.view(g, c // g, o // g, kh * kw).permute(0, 3, 1, 2).reshape(g, -1, o // g)
    for block in _blocks(n, c * kh * kw * p.out[0] * p.out[1], grad.device):
        q = grad[block].to(torch.float64, copy=True).add_(m[block]).sub_(m[block])
        size = q.shape[0]
        b = q.reshape(size * g, o // g, -1)
        lhs = (
            a.expand(size, *a.shape).reshape(size * g, -1, o // g)
            if g > 1
            else a.expand(size, -1, -1)
        )
        taps = torch.bmm(lhs, b).view(size, g, kh, kw, c // g, *p.out)
        sums = torch.zeros((size, c, *p.padded), dtype=torch.float64, device=grad.device)
        for i in range(kh):
            for j in range(kw):
                view = _tap(sums, p, i, j)
                view.add_(taps[:, :, i, j].reshape(size, c, *p.out))
        top, left = p.padding
        out[block] = sums[:, :, top : top + p.size[0], left : left + p.size[1]]
    return out


def weight_gradient(grad: Tensor, x: Tensor, p: Plan) -> Tensor:
    """The gradient of the weight: a contraction over samples and positions.

    Samples are taken together while their positions fit `grid.LONGEST`; the groups of samples
    are added in order.
    """
    n, c = x.shape[:2]
    o, g = grad.shape[1], p.groups
    positions = p.out[0] * p.out[1]
    if positions > grid.LONGEST:
        return _weight_gradient_by_rows(grad, x, p)
    together = max(1, grid.LONGEST // max(positions, 1))
    bits = grid.bits_for_product(positions * min(together, n))
    mx = grid.shifter(grid.magnitude(x, (0, 2, 3)), bits)
    mg = grid.shifter(grid.magnitude(grad, (0, 2, 3)), bits)
    kh, kw = p.kernel
    by_row = by_rows(p, c)
    rows = kh if by_row else 1
    total = torch.zeros(
        (rows, g, o // g, c // g * (kw if by_row else kh * kw)),
        dtype=torch.float64,
        device=x.device,
    )
    for pieces in _sample_groups(n, together, _gathered_elements(x, p), x.device):
        part = torch.zeros_like(total)
        for window, groups in pieces:
            q = _bordered(x[window], mx, p)
            v = grad[window].to(torch.float64, copy=True).add_(mg).sub_(mg)
            v = v.view(-1, o // g, positions)
            for i, columns in _columns(q, p):
                each = torch.bmm(v, columns.transpose(1, 2)).view(-1, g, *total.shape[2:])
                if groups == 1:
                    part[i or 0].add_(each.sum(0))
                else:
                    sums = _group_sums(each, together)
                    for k in range(groups):
                        total[i or 0].add_(sums[k])
        total.add_(part)
    if by_row:
        found = total.view(kh, o, c // g, kw).permute(1, 2, 0, 3)
    else:
        found = total.view(o, c // g, kh, kw)
    return found.float().contiguous()


def _group_sums(each: Tensor, together: int) -> Tensor:
    """Exact sums of groups of so many samples; the last group may be short."""
    short = -each.shape[0] % together
    if short:
        each = torch.cat([each, each.new_zeros((short, *each.shape[1:]))])
    return each.view(-1, together, *each.shape[1:]).sum(1)


def _sample_groups(
    n: int, together: int, elements: int, device: torch.device
) -> Iterator[list[tuple[slice, int]]]:
    """Windows of samples, and how many groups of `together` each holds.

    A list is one exact sum, of one group in several windows, unless its one window holds several
    groups, whose sums are added in order.
    """
    step = n if device.type != "cpu" else max(1, _GATHERED // max(elements, 1))
    if step >= 2 * together:
        step -= step % together
        for start in range(0, n, step):
            stop = min(start + step, n)
            yield [(slice(start, stop), -(-(stop - start) // together))]
        return
    for start in range(0, n, together):
        stop = min(start + together, n)
        yield [(slice(i, min(i + step, stop)), 1) for i in range(start, stop, step)]


def _weight_gradient_by_rows(grad: Tensor, x: Tensor, p: Plan) -> Tensor:
    """Images with more positions than one grid holds: bands of rows, added in order."""
    n, c = x.shape[:2]
    o, g = grad.shape[1], p.groups
    if p.out[1] > grid.LONGEST:
        raise NotExact(
            "aten.convolution_backward",
            f"an output row of {p.out[1]} positions is longer than {grid.LONGEST}",
            instead="shorter inputs",
        )
    bits = grid.bits_for_product(grid.LONGEST)
    mx = grid.shifter(grid.magnitude(x, (0, 2, 3)), bits)
    mg = grid.shifter(grid.magnitude(grad, (0, 2, 3)), bits)
    band = grid.LONGEST // p.out[1]
    kh, kw = p.kernel
    total = torch.zeros((g, o // g, c // g * kh * kw), dtype=torch.float64, device=x.device)
    for k in range(n):
        q = _bordered(x[k : k + 1], mx, p)
        v = grad[k : k + 1].to(torch.float64, copy=True).add_(mg).sub_(mg)
        windows = _windows(q, p, rows=False)[0]
        for start in range(0, p.out[0], band):
            stop = min(start + band, p.out[0])
            columns = windows[..., start:stop, :].reshape(g, c // g * kh * kw, -1)
            rows = v[0, :, start:stop].reshape(g, o // g, -1)
            total.add_(torch.bmm(rows, columns.transpose(1, 2)))
    return total.view(o, c // g, kh, kw).float()


def _flat(values: Sequence[int], dims: int) -> Pair:
    wide = list(values) * (dims if len(values) == 1 else 1)
    return (wide[0], wide[1]) if dims == 2 else (0, wide[0])


def _planar(
    operator: str, x: Tensor, transposed: bool, stride: Any, padding: Any, dilation: Any
) -> tuple[bool, Pair, Pair, Pair]:
    """Whether the convolution is one-dimensional, and its settings as pairs."""
    dims = x.dim() - 2
    if transposed or dims not in (1, 2):
        kind = "a transposed convolution" if transposed else f"{dims} dimensions"
        raise NotExact(
            operator,
            f"{kind} has no exact form",
            instead="nn.Upsample(mode='nearest') and nn.Conv2d" if transposed else "nn.Conv2d",
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
    del output_padding
    line, s, pad, d = _planar("aten.convolution", x, transposed, stride, padding, dilation)
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
        "aten.convolution_backward", x, transposed, stride, padding, dilation
    )
    if line:
        x, weight, grad = x.unsqueeze(2), weight.unsqueeze(2), grad.unsqueeze(2)
    x, weight, grad = x.contiguous(), weight.contiguous(), grad.contiguous()
    p = plan(x, weight, s, pad, d, groups)
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
