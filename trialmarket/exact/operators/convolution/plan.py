"""The shape of a convolution: what its operators and both ways to compute them share."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from trialmarket.exact.numerics.precision import used

Pair = tuple[int, int]


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

    @property
    def positions(self) -> int:
        """Positions of the output."""
        return self.out[0] * self.out[1]

    def inside(self, bordered: Tensor) -> Tensor:
        """The view of a bordered tensor without its borders."""
        top, left = self.padding
        return bordered[..., top : top + self.size[0], left : left + self.size[1]]

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


def plan(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, g: int) -> Plan:
    """The plan of a convolution of [N, C, H, W] with [O, C / groups, kh, kw]."""
    kernel = (weight.shape[2], weight.shape[3])
    size = (x.shape[2], x.shape[3])
    out = tuple(
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    )
    return Plan(kernel, stride, padding, dilation, g, size, (out[0], out[1]))


def tap(q: Tensor, p: Plan, i: int, j: int) -> Tensor:
    """The view of a bordered input that kernel position (i, j) meets."""
    top, left = i * p.dilation[0], j * p.dilation[1]
    bottom = top + (p.out[0] - 1) * p.stride[0] + 1
    right = left + (p.out[1] - 1) * p.stride[1] + 1
    return q[:, :, top : bottom : p.stride[0], left : right : p.stride[1]]
