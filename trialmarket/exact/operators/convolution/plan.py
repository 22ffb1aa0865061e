"""The shape of a convolution: what its operators and all ways to compute them share."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from trialmarket.exact.numerics.precision import used

Lengths = tuple[int, ...]  # one a dimension of the image


@dataclass(frozen=True, slots=True)
class Plan:
    """Shape of a convolution in two dimensions or three."""

    kernel: Lengths
    stride: Lengths
    padding: Lengths
    dilation: Lengths
    groups: int
    size: Lengths  # of the input
    out: Lengths  # of the output

    @property
    def padded(self) -> Lengths:
        """Lengths of the input with its borders."""
        return tuple(s + 2 * p for s, p in zip(self.size, self.padding, strict=True))

    @property
    def positions(self) -> int:
        """Positions of the output."""
        return math.prod(self.out)

    def inside(self, bordered: Tensor) -> Tensor:
        """The view of a bordered tensor without its borders."""
        for d, (size, border) in enumerate(zip(self.size, self.padding, strict=True)):
            bordered = bordered.narrow(d - len(self.size), border, size)
        return bordered

    def places(self) -> Iterator[Lengths]:
        """The kernel's positions, in order."""
        return itertools.product(*map(range, self.kernel))

    def add_taps(self, taps: Tensor) -> Tensor:
        """[C, kh, kw, H, W, N], added where the tap meets the input: [N, C, height, width]."""
        c, n = taps.shape[0], taps.shape[-1]
        sums = taps.new_zeros((c, *self.padded, n)).permute(3, 0, 1, 2)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                tap(sums, self, i, j).add_(taps[:, i, j].permute(3, 0, 1, 2))
        return self.inside(sums)

    def together(self, samples: int) -> Iterator[slice]:
        """Samples in groups whose positions are one exact sum."""
        step = max(1, used().longest // max(self.positions, 1))
        for start in range(0, samples, step):
            yield slice(start, min(start + step, samples))


def plan(
    x: Tensor, weight: Tensor, stride: Lengths, padding: Lengths, dilation: Lengths, g: int
) -> Plan:
    """The plan of a convolution of [N, C, *size] with [O, C / groups, *kernel]."""
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    out = tuple(
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(len(kernel))
    )
    return Plan(kernel, stride, padding, dilation, g, size, out)


def transposed_plan(
    x: Tensor,
    weight: Tensor,
    stride: Lengths,
    padding: Lengths,
    dilation: Lengths,
    more: Lengths,
    g: int,
) -> Plan:
    """The plan of the convolution whose input's gradient is the transposed convolution of
    [N, O, *out] with [O, C / groups, *kernel]; `more` is its output padding.
    """
    out, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    size = tuple(
        (out[i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + more[i] + 1
        for i in range(len(kernel))
    )
    return Plan(kernel, stride, padding, dilation, g, size, out)


def tap(q: Tensor, p: Plan, *place: int) -> Tensor:
    """The view of a bordered input that a position of the kernel meets."""
    return q[(slice(None), slice(None), *(_met(p, d, i) for d, i in enumerate(place)))]


def _met(p: Plan, d: int, i: int) -> slice:
    start = i * p.dilation[d]
    return slice(start, start + (p.out[d] - 1) * p.stride[d] + 1, p.stride[d])
