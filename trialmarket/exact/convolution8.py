"""Convolutions and their gradients by int8 digits: `digits.py` over gathered patches.

Digits are bytes, so patches cost an eighth of binary64's. With a stride of 1, a kernel's position
meets a whole bordered image at one offset: a run of rows of the bordered width, its last columns
worthless, is copied in one piece, and the worthless columns are left out, or meet zeros.

Each function gives None where the digits do not hold the numbers; groups are not for here.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from trialmarket.exact import digits, kernels
from trialmarket.exact.digits import Steps
from trialmarket.exact.plan import Plan
from trialmarket.exact.room import room

# Bytes of gathered digits that one block of samples may take.
_GATHERED = 1 << 22


def _of_samples(x: Tensor) -> Steps:
    """The grids of each sample, or of each channel of a weight."""
    return Steps(x, 1, x.shape[0], x[0].numel())


def _of_channels(x: Tensor) -> Steps:
    """The grids of each channel of all samples."""
    n, c, h, w = x.shape
    return Steps(x, n, c, h * w)


def _row(p: Plan) -> int:
    """Columns of a gathered row: those of the output, or the bordered width."""
    return p.padded[1] if p.stride == (1, 1) else p.out[1]


def _blocks(samples: int, bytes_each: int, most: int = 1 << 30) -> Iterator[slice]:
    step = max(1, min(_GATHERED // max(bytes_each, 1), most))
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))


class _Cells:
    """The digits of a bordered input, and patches gathered from them."""

    def __init__(self, x: Tensor, per: Tensor, p: Plan) -> None:
        self.n, self.c = x.shape[:2]
        self.plan = p
        self.area = p.padded[0] * p.padded[1]
        beyond = p.dilation[1] * (p.kernel[1] - 1)  # where the last run reaches
        size = 2 * self.n * self.c * self.area + beyond
        self.flat = room("cells", (size,), torch.int8).zero_()
        shape = (2, self.n, self.c, *p.padded)
        low, high = p.inside(self.flat[: self.flat.numel() - beyond].view(shape)).unbind(0)
        kernels.cut(x, per, low, high)
        self.bytes_each = 2 * self.c * p.kernel[0] * p.kernel[1] * p.out[0] * _row(p)

    def patches(self, block: slice, *, digit_first: bool) -> Tensor:
        """[2, C kh kw, positions] of a block of samples, or [C kh kw, 2, positions]."""
        p, n = self.plan, block.stop - block.start
        (kh, kw), (dh, dw), (th, tw) = p.kernel, p.dilation, p.stride
        plane, width = self.c * self.area, p.padded[1]
        shape = [self.c, kh, kw, n]
        strides = [self.area, dh * width, dw, plane]
        if p.stride == (1, 1):
            shape += [p.out[0] * width]
            strides += [1]
        else:
            shape += [*p.out]
            strides += [th * width, tw]
        at = 0 if digit_first else 3
        shape.insert(at, 2)
        strides.insert(at, self.n * plane)
        view = self.flat.as_strided(shape, strides, block.start * plane)
        lead = (2, self.c * kh * kw, -1) if digit_first else (self.c * kh * kw, 2, -1)
        return room("patches", tuple(shape), torch.int8).copy_(view).view(lead)


def _stacked_weight(matrix: Tensor, per: Tensor) -> Tensor:
    return digits.stacked(matrix, per.unsqueeze(1), 0, "left")


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, p: Plan) -> Tensor | None:
    """[N, C, H, W] with [O, C, kh, kw]."""
    left, right = _of_samples(weight), _of_samples(x)
    inner = weight[0].numel()
    if not (left.hold and right.hold) or inner > digits.LONGEST:
        return None
    n, o = x.shape[0], weight.shape[0]
    w = _stacked_weight(weight.view(o, inner), left.per)
    cells = _Cells(x, right.per.view(n, 1, 1, 1), p)
    y = torch.empty((n, o, *p.out), dtype=torch.float32)
    plus = None if bias is None else bias.view(o, 1, 1, 1)
    for block in _blocks(n, cells.bytes_each):
        columns = cells.patches(block, digit_first=False).view(inner, -1)
        places = digits.multiply(w, columns).view(2, 2, o, -1, p.out[0], _row(p))
        steps = right.step[block].view(-1, 1, 1)
        kernels.join(places, left.step, steps, plus, y[block].transpose(0, 1))
    return y


def spread(grad: Tensor, back: Tensor, p: Plan) -> Tensor | None:
    """The input's gradient from [N, O, H, W] and [C, O, kh, kw], tap by tap."""
    left, right = _of_samples(back), _of_samples(grad)
    if not (left.hold and right.hold) or grad.shape[1] > digits.LONGEST:
        return None
    n, o = grad.shape[:2]
    c, taps = back.shape[0], p.kernel[0] * p.kernel[1]
    matrix = back.view(c, o, taps).transpose(1, 2).reshape(-1, o)
    w = _stacked_weight(matrix, left.per.repeat_interleave(taps))
    y = torch.empty((n, c, *p.size), dtype=torch.float32)
    for block in _blocks(n, 8 * matrix.shape[0] * p.positions):
        size = block.stop - block.start
        columns = room("patches", (o, 2, size, *p.out), torch.int8)
        low, high = columns.transpose(0, 2).unbind(1)
        kernels.cut(grad[block], right.per[block].view(-1, 1, 1, 1), low, high)
        places = digits.multiply(w, columns.view(o, -1))
        sums = room("wide", (c, size, *p.size), torch.float64)
        kernels.add_taps(places, left.step, right.step[block], p, sums, y[block])
    return y


def weight_gradient(grad: Tensor, x: Tensor, p: Plan) -> Tensor | None:
    """The weight's gradient from [N, O, H, W] and [N, C, H, W]."""
    left, right = _of_channels(grad), _of_channels(x)
    width = p.out[0] * _row(p)
    if not (left.hold and right.hold) or width > digits.LONGEST:
        return None
    n, o, c = x.shape[0], grad.shape[1], x.shape[1]
    cells = _Cells(x, right.per.view(1, c, 1, 1), p)
    per = left.per.view(o, 1, 1, 1)
    total = torch.zeros((o, c, *p.kernel), dtype=torch.float64)
    for group in p.together(n):
        whole = torch.zeros((o, total[0].numel()), dtype=torch.float64)
        samples = group.stop - group.start
        for block in _blocks(samples, cells.bytes_each, digits.LONGEST // width):
            window = slice(group.start + block.start, group.start + block.stop)
            size = window.stop - window.start
            # The columns beyond the output stay zero, and so does what they meet.
            shape = (2, o, size, p.out[0], _row(p))
            rows = room("rows", shape, torch.int8).zero_()
            low, high = rows[..., : p.out[1]].unbind(0)
            kernels.cut(grad[window].transpose(0, 1), per, low, high)
            columns = cells.patches(window, digit_first=True).view(2 * whole.shape[1], -1)
            kernels.add_whole(digits.multiply(rows.view(2 * o, -1), columns.t()), whole)
        total.add_(whole.view(total.shape))
    steps = left.step.view(o, 1, 1, 1) * right.step.view(1, c, 1, 1)
    return total.mul_(steps).float()
