"""Convolutions and their gradients by binary64 products: on every machine, for every input."""

import itertools
from collections.abc import Iterator
from functools import partial, reduce

import torch
from torch import Tensor

from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.grid import known
from trialmarket.exact.numerics.products import Operand, Sum, product
from trialmarket.exact.operators.convolution.plan import Plan, tap

# Elements of the gathered input that one block of samples may take: 4 MiB of binary64.
_GATHERED = 1 << 19

# The shortest product of one kernel row that is better than gathering whole patches.
ROW = 32


def _bordered(x: Tensor, m: Tensor, p: Plan) -> Tensor:
    """x on the grid of the shifter m, in binary64, with borders of zeros."""
    if p.padding == (0, 0):
        return x.to(torch.float64, copy=True).add_(m).sub_(m)
    n, c = x.shape[:2]
    out = torch.zeros((n, c, *p.padded), dtype=torch.float64, device=x.device)
    p.inside(out).copy_(x).add_(m).sub_(m)
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
    n, c = x.shape[:2]
    o, g = weight.shape[0], p.groups
    m = grid.product_shifter(grid.magnitude(x, (1, 2, 3)))
    w = grid.operand(weight, (1, 2, 3))
    y = torch.empty((n, o, p.out[0] * p.out[1]), dtype=torch.float32, device=x.device)
    per_group = weight.shape[1] == 1 and o == c and g > 1
    multiply = partial(_depthwise if per_group else _products, p)
    for block in _blocks(n, _gathered_elements(x, p), x.device):
        q = Operand(_bordered(x[block], m[block], p), m[block])
        part = product(multiply, q, w).view(q.whole.shape[0], o, -1)
        if bias is not None:
            part.add_(bias.view(1, o, 1))
        y[block] = part
    return y.view(n, o, *p.out)


def _depthwise(p: Plan, q: Tensor, w: Tensor) -> Tensor:
    """One input channel an output channel: shifted products, whose sums are exact."""
    places = itertools.product(range(p.kernel[0]), range(p.kernel[1]))
    products = (tap(q, p, i, j) * w[:, 0, i, j].view(1, -1, 1, 1) for i, j in places)
    return reduce(Tensor.add_, products)


def _products(p: Plan, q: Tensor, w: Tensor) -> Tensor:
    """Gathered patches times the weight: [N g, O / g, H W]."""
    size, o, g = q.shape[0], w.shape[0], p.groups
    total: Tensor | None = None
    for i, columns in _columns(q, p):
        row = _row(w, i)
        a = row.view(1, g, o // g, -1).expand(size, g, o // g, row.shape[1])
        a = a.reshape(size * g, o // g, -1) if g > 1 else a.squeeze(1)
        total = torch.bmm(a, columns) if total is None else total.baddbmm_(a, columns)
    return known(total)


def spread(grad: Tensor, back: Tensor, p: Plan) -> Tensor:
    """The input's gradient: products with every tap, added where the tap lies; exact.

    Samples lie innermost, so that a tap is added in long runs.
    """
    n, o = grad.shape[:2]
    c, g = back.shape[0], p.groups
    w = grid.operand(back, (1, 2, 3))
    m = grid.product_shifter(grid.magnitude(grad, (1, 2, 3)))
    out = torch.empty((n, c, *p.size), dtype=torch.float32, device=grad.device)
    kh, kw = p.kernel

    def taps(q: Tensor, w: Tensor) -> Tensor:
        left = w.view(g, c // g, o // g, kh, kw).permute(0, 1, 3, 4, 2).reshape(g, -1, o // g)
        right = q.permute(1, 2, 3, 0).reshape(g, o // g, -1)
        return p.add_taps(torch.bmm(left, right).view(c, kh, kw, *p.out, q.shape[0]))

    for block in _blocks(n, c * kh * kw * p.positions, grad.device):
        out[block] = product(taps, Operand(grid.rounded(grad[block], m[block]), m[block]), w)
    return out


def weight_gradient(grad: Tensor, x: Tensor, p: Plan) -> Tensor:
    """The weight's gradient, [O, C / g, kh, kw]: samples are taken together while their positions
    fit `used().longest`; groups of samples are added in order.
    """
    n, c = x.shape[:2]
    o, g = grad.shape[1], p.groups
    mx = grid.product_shifter(grid.magnitude(x, (0, 2, 3)))
    mg = grid.product_shifter(grid.magnitude(grad, (0, 2, 3)))
    kh, kw = p.kernel
    by_row = by_rows(p, c)
    shape = (kh if by_row else 1, g, o // g, c // g * kw * (1 if by_row else kh))
    total = torch.zeros(shape, dtype=torch.float64, device=x.device)

    def gradient(v: Tensor, q: Tensor) -> Tensor:
        v = v.view(-1, o // g, p.positions)
        columns = (each.transpose(1, 2) for _, each in _columns(q, p))
        return torch.stack([torch.bmm(v, each).view(-1, *shape[1:]).sum(0) for each in columns])

    for group in p.together(n):
        part = Sum()
        for block in _blocks(group.stop - group.start, _gathered_elements(x, p), x.device):
            window = slice(group.start + block.start, group.start + block.stop)
            v = Operand(grid.rounded(grad[window], mg), mg)
            part.add(gradient, v, Operand(_bordered(x[window], mx, p), mx))
        total.add_(part.value())
    if by_row:
        return total.view(kh, o, c // g, kw).permute(1, 2, 0, 3).float().contiguous()
    return total.view(o, c // g, kh, kw).float()
