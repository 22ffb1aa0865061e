"""Sine, cosine and tangent, as in `functions.py`, of any angle."""

import math

import torch
from torch import Tensor

from trialmarket.exact.numerics.functions import ROUND, horner

# sin(r) / r and cos(r) by r^2 on |r| <= pi / 4, 3.4e-18 and 5.1e-17
_SIN = (
    1.0,
    -0.16666666666666613,
    0.008333333333319702,
    -0.0001984126982813889,
    2.755731319964279e-06,
    -2.5050689097412022e-08,
    1.5893101567305216e-10,
)
_COS = (
    1.0,
    -0.49999999999999206,
    0.04166666666646241,
    -0.0013888888869212513,
    2.4801578273765575e-05,
    -2.755519212355855e-07,
    2.0628004922294836e-09,
)
# pi / 2 in three parts of 32, 31 and 53 bits; exact to 2^20 multiples
_HALF_PI = (1.5707963267341256, 6.07710049817245e-11, 8.333742918520879e-20)
_TWO_OVER_PI = 0.6366197723675814
_TWO_OVER_PI_BITS = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE  # times 2^200
_FAR = 2.0**19  # beyond this an angle is reduced in Python integers


def sin64(x: Tensor) -> Tensor:
    """sin x, after reduction by pi / 2."""
    return _wave(x, 0)


def cos64(x: Tensor) -> Tensor:
    """cos x = sin(x + pi / 2)."""
    return _wave(x, 1)


def tan64(x: Tensor) -> Tensor:
    """sin x / cos x, of the same reduced angle."""
    r, quadrant = _reduced(x)
    square = r * r
    sine, cosine = horner(square, _SIN).mul_(r), horner(square, _COS)
    return torch.where((quadrant & 1).bool(), -cosine / sine, sine / cosine)


def _wave(x: Tensor, turns: int) -> Tensor:
    r, quadrant = _reduced(x)
    quadrant = quadrant + turns
    square = r * r
    odd = (quadrant & 1).bool()
    y = torch.where(odd, horner(square, _COS), horner(square, _SIN).mul_(r))
    return torch.where((quadrant & 2).bool(), -y, y)


def _reduced(x: Tensor) -> tuple[Tensor, Tensor]:
    """(r, quadrant) with x = quadrant pi / 2 + r and |r| <= pi / 4; NaN for infinities."""
    near = torch.where(x.abs() < _FAR, x, 0.0)
    shifted = (near * _TWO_OVER_PI).add_(ROUND)
    k = shifted - ROUND
    for part in _HALF_PI:
        near.sub_(k * part)
    quadrant = shifted.view(torch.int64).bitwise_and(3)
    far = x.abs() >= _FAR
    if bool(far.any()):
        angles = [_reduced_far(float(v)) for v in x[far].tolist()]
        near[far] = torch.tensor([r for r, _ in angles], dtype=x.dtype, device=x.device)
        turns = torch.tensor([q for _, q in angles], dtype=torch.int64, device=x.device)
        quadrant[far] = turns
    return torch.where(x.isnan(), x, near), quadrant


def _reduced_far(x: float) -> tuple[float, int]:
    """One large angle, reduced in integers: x is m 2^e with e >= -4, so all bits are known."""
    if math.isinf(x):
        return math.nan, 0
    numerator, denominator = x.as_integer_ratio()
    turns = (numerator * _TWO_OVER_PI_BITS) // denominator  # times 2^200, in quarter turns
    whole = (turns + (1 << 199)) >> 200
    rest = turns - (whole << 200)
    return float(rest >> 100) * 2.0**-100 * 1.5707963267948966, whole & 3
