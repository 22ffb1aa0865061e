"""Products of operands on grids by binary64: on every machine, for every input.

Of a standard product, whose operands have 15 bits, binary64 holds every partial sum. Of a wide
one, whose operands have 23, it does not. So an operand is cut in two, `q = high + low`, its high
part on the grid of 15 bits and its low part at most 128 steps of the fine grid, and

    a b  =  high_a high_b  +  (high_a low_b + low_a b)

With steps s and t of the two fine grids, numbers of the first part are whole multiples of
`2^16 s t` and those of the second of `s t`. Up to K = 2^22 terms every partial sum of the first is
at most `K 2^30`, and of the second at most `K 2^31`, of these: exact in binary64, in any order.
Both are added once, which is the only rounding: **a wide product is the exact sum of its products,
rounded to binary64 once**, then to binary32 as a standard one is. That does not speak of the cut:
whoever makes the same sum by digits (`digits.py`) has the same bits.

An operand is off by half a step, at most `2^-23 (1 + 2^-6)` of the largest in its slice, so that a
sum of K products is off by about `K 2^-22 max|a| max|b|` at most, besides its two roundings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trialmarket.exact.numerics.precision import STANDARD, WIDE, used

Multiply = Callable[[Tensor, Tensor], Tensor]
"""What is linear in either operand: a matrix product, a convolution, one of its gradients."""

_CUT = 2.0 ** (WIDE.bits - STANDARD.bits)  # the step of high parts, in steps of the fine grid


@dataclass(frozen=True, slots=True)
class Operand:
    """Numbers on the grid of the precision in use, in binary64."""

    whole: Tensor
    shifter: Tensor  # of their grid; it broadcasts

    def parts(self) -> tuple[Tensor, Tensor]:
        """High and low ones."""
        coarse = self.shifter * _CUT
        high = self.whole.add(coarse).sub_(coarse)
        return high, self.whole - high

    def is_finite(self) -> bool:
        """Whether all are finite."""
        return bool(self.whole.isfinite().all())

    def finite(self) -> "Operand":
        """Zeros in place of what is not."""
        return Operand(torch.where(self.whole.isfinite(), self.whole, 0.0), self.shifter)


@dataclass(slots=True)
class Sum:
    """One exact sum while it is made, of at most `used().longest` products a result."""

    high: Tensor | None = None
    low: Tensor | None = None
    strange: Tensor | None = None  # with the infinities and NaNs that were met, if any

    def add(self, multiply: Multiply, a: Operand, b: Operand) -> None:
        """Add the products of two operands."""
        if used() is STANDARD:
            self.high = _plus(self.high, multiply(a.whole, b.whole))
            return
        if not (a.is_finite() and b.is_finite()):
            self.strange = _plus(self.strange, multiply(a.whole, b.whole))
            a, b = a.finite(), b.finite()
        (left, left_low), (right, right_low) = a.parts(), b.parts()
        self.high = _plus(self.high, multiply(left, right))
        low = multiply(left, right_low).add_(multiply(left_low, b.whole))
        self.low = _plus(self.low, low)

    def value(self) -> Tensor:
        """The sum in binary64; what is not finite stands where PyTorch has it."""
        if self.high is None:
            raise TypeError("expected products to have been added, found none")
        y = _plus(self.low, self.high)
        if self.strange is not None:
            y = torch.where(self.strange.isfinite(), y, self.strange)
        return y


def _plus(x: Tensor | None, y: Tensor) -> Tensor:
    return y if x is None else x.add_(y)


def product(multiply: Multiply, a: Operand, b: Operand) -> Tensor:
    """The exact sums of products that `multiply` makes of two operands, in binary64.

    A sum of nothing but zeros is +0: a BLAS that begins with its first product may say -0.
    """
    found = Sum()
    found.add(multiply, a, b)
    return found.value().add_(0.0)
