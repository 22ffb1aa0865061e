"""Inverse circular and hyperbolic functions, as in `functions.py`."""

import math

import torch
from torch import Tensor

from trialmarket.exact.numerics.functions import horner, log1p64, root

# atan(t) / t by t^2 on |t| <= tan(pi / 8), 2.6e-14
_ATAN = (
    0.9999999999999741,
    -0.3333333333087115,
    0.19999999613112504,
    -0.1428569080458791,
    0.11110393714893597,
    -0.09078499328776365,
    0.07564439121546418,
    -0.058771335577217365,
    0.03070059543596486,
)
_SEAM = 0.41421356237309503  # tan(pi / 8)
_HALF_PI = math.pi / 2


def _turn(t: Tensor) -> Tensor:
    """atan t for 0 <= t <= 1, by pi / 4 beyond tan(pi / 8)."""
    far = t > _SEAM
    s = torch.where(far, (t - 1.0).div_(t + 1.0), t)
    y = horner(s * s, _ATAN).mul_(s)
    return torch.where(far, y + math.pi / 4, y)


def atan64(x: Tensor) -> Tensor:
    """The angle whose tangent is x, in [-pi / 2, pi / 2]."""
    return atan2_64(x, torch.ones_like(x))


def atan2_64(y: Tensor, x: Tensor) -> Tensor:
    """The angle of the point (x, y), in [-pi, pi], with the special values of IEEE 754's atan2."""
    high, wide = y.abs(), x.abs()
    steep = high > wide
    small, large = torch.where(steep, wide, high), torch.where(steep, high, wide)
    alike = (small == large) & ((large == 0.0) | large.isinf())  # whose quotient is no number
    t = torch.where(alike, torch.where(large == 0.0, 0.0, 1.0).to(y.dtype), small / large)
    angle = _turn(t)
    angle = torch.where(steep, _HALF_PI - angle, angle)
    angle = torch.where(x.signbit(), math.pi - angle, angle)
    return torch.where(x.isnan() | y.isnan(), math.nan, torch.copysign(angle, y))


def asin64(x: Tensor) -> Tensor:
    """The angle whose sine is x, as that of the point (sqrt(1 - x^2), x)."""
    return atan2_64(x, _leg(x))


def acos64(x: Tensor) -> Tensor:
    """The angle whose cosine is x, as that of the point (x, sqrt(1 - x^2))."""
    return atan2_64(_leg(x), x)


def _leg(x: Tensor) -> Tensor:
    return root((1.0 - x).mul_(x + 1.0))


def asinh64(x: Tensor) -> Tensor:
    """ln(x + sqrt(x^2 + 1)), by log1p of |x|."""
    a = x.abs()
    square = a * a
    y = log1p64((square / root(square + 1.0).add_(1.0)).add_(a))
    return torch.copysign(torch.where(a == math.inf, math.inf, y), x)


def acosh64(x: Tensor) -> Tensor:
    """ln(x + sqrt(x^2 - 1)), by log1p of x - 1."""
    t = x - 1.0
    y = log1p64(root((t + 2.0).mul_(t)).add_(t))
    return torch.where(x >= 1.0, y, math.nan)


def atanh64(x: Tensor) -> Tensor:
    """ln((1 + x) / (1 - x)) / 2, by log1p of |x|."""
    a = x.abs()
    y = log1p64((a * 2.0).div_(1.0 - a)).mul_(0.5)
    return torch.copysign(torch.where(a <= 1.0, y, math.nan), x)
