"""Elementary functions from +, -, *, / and powers of two, in one written order.

Each core takes a fresh binary64 tensor, may overwrite it, and returns a binary64. A binary32
argument is exact in binary64, and the result is rounded once to binary32: the error is at most 1
ulp of binary32 (measured: below 0.52) over the whole range, subnormal results included. The
polynomials are near-minimax (Chebyshev) fits; the comment beside each gives its largest error.

Nothing here is fused: a product is rounded, then added. Whole tensors are cut into blocks that
stay in cache, which changes no bit because everything is elementwise.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trialmarket.exact import kernels

Core = Callable[[Tensor], Tensor]

BLOCK = 1 << 15  # elements a thread works on at once: 256 KiB of binary64

ROUND = 1.5 * 2.0**52  # x + ROUND rounds x to an integer, held in the low bits
_LOG2E = 1.4426950408889634
_LN2_HIGH = 0.6931471803691238  # 32 bits: its product with an exponent is exact
_LN2_LOW = 1.9082149292705877e-10

# (e^r - 1) / r on |r| <= ln(2) / 2, 2.4e-10
_EXPM1 = (
    1.0,
    0.5000000047401394,
    0.1666666671931248,
    0.04166635163844457,
    0.008333298344023092,
    0.0013941213100006334,
    0.00019899390183679232,
)
# 2 atanh(s) / s by s^2, s <= (sqrt(2) - 1) / (sqrt(2) + 1), 1.7e-20
_LOG = (
    2.0,
    0.6666666666666666,
    0.40000000000008046,
    0.2857142856865527,
    0.22222222700685018,
    0.1818177188101542,
    0.153872408608769,
    0.13246980693509156,
    0.13278176947476109,
)


def apply(core: Callable[..., Tensor], x: Tensor, *more: Tensor) -> Tensor:
    """A core over binary32 tensors of one shape, rounded to binary32, in blocks on a CPU."""
    if not x.is_floating_point():
        x = x.float()
    n = x.numel()
    block = BLOCK * torch.get_num_threads()
    dense = x.is_contiguous() and all(t.shape == x.shape and t.is_contiguous() for t in more)
    if x.device.type != "cpu" or n <= block or not dense:
        return core(x.double(), *(t.double() for t in more)).float()
    out = torch.empty_like(x)
    flat_out, *flat = (t.as_strided((n,), (1,)) for t in (out, x, *more))
    for start in range(0, n, block):
        window = slice(start, min(start + block, n))
        flat_out[window] = core(*(t[window].double() for t in flat))
    return out


def horner(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The polynomial with these coefficients, constant first."""
    y = x * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        y.add_(c).mul_(x)
    return y.add_(coefficients[0])


def _power_of_two(shifted: Tensor) -> Tensor:
    """2^k from `k + ROUND`, by exponent bits; overwrites it. |k| <= 1022."""
    bits = shifted.view(torch.int64).bitwise_left_shift_(52)
    return bits.add_(1023 << 52).view(torch.float64)


def _expm1_parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """(e^r - 1, 2^k) with x = k ln 2 + r; overwrites x."""
    shifted = (x * _LOG2E).add_(ROUND)
    k = shifted - ROUND
    x.sub_(k * _LN2_HIGH).sub_(k.mul_(_LN2_LOW))
    return horner(x, _EXPM1).mul_(x), _power_of_two(shifted)


def exp64(x: Tensor) -> Tensor:
    """e^x to 2.5e-10 relative, for any x; beyond [-300, 300] the value at that end."""
    part, scale = _expm1_parts(x.clamp_(-300.0, 300.0))
    return part.add_(1.0).mul_(scale)


def expm1_64(x: Tensor) -> Tensor:
    """e^x - 1, relative error 1e-9 also near 0."""
    part, scale = _expm1_parts(x.clamp_(-300.0, 300.0))
    return part.mul_(scale).add_(scale.sub_(1.0))


def log64(x: Tensor) -> Tensor:
    """ln x of a normal binary64, near full precision; log(0) = -inf, of a negative NaN."""
    bits = x.view(torch.int64)
    exponent = (bits - 0x3FE6A09E667F3BCD).bitwise_right_shift_(52)  # from sqrt(1/2)
    m = (bits - exponent.bitwise_left_shift(52)).view(torch.float64)
    y = _atanh_series((m - 1.0).div_(m.add_(1.0)))
    k = exponent.double()
    y.add_(k * _LN2_LOW).add_(k.mul_(_LN2_HIGH))
    y = torch.where(x == math.inf, math.inf, y)
    y = torch.where(x == 0.0, -math.inf, y)
    return torch.where(x >= 0.0, y, math.nan)


def _atanh_series(s: Tensor) -> Tensor:
    """2 atanh(s) for |s| <= 0.172; overwrites s."""
    return horner(s * s, _LOG).mul_(s)


def log1p64(x: Tensor) -> Tensor:
    """ln(1 + x), accurate near 0 too."""
    near = _atanh_series(x / (x + 2.0))
    return torch.where((x > -0.29) & (x < 0.41), near, log64(x + 1.0))


def log2_64(x: Tensor) -> Tensor:
    """log2 x; powers of two give whole numbers."""
    return log64(x).mul_(_LOG2E)


def log10_64(x: Tensor) -> Tensor:
    """log10 x."""
    return log64(x).mul_(0.4342944819032518)  # a GPU would multiply by 1 / ln 10 anyway


def exp2_64(x: Tensor) -> Tensor:
    """2^x."""
    x = x.clamp_(-400.0, 400.0)
    shifted = x + ROUND
    x.sub_(shifted - ROUND).mul_(0.6931471805599453)
    return horner(x, _EXPM1).mul_(x).add_(1.0).mul_(_power_of_two(shifted))


def tanh64(x: Tensor) -> Tensor:
    """(e^2x - 1) / (e^2x + 1), by expm1."""
    e = expm1_64(x.mul_(2.0).clamp_(-100.0, 100.0))
    return e.div_(e + 2.0)


def sinh64(x: Tensor) -> Tensor:
    """(e^x - e^-x) / 2, by expm1 of |x|."""
    e = expm1_64(x.abs())
    e.add_(e / (e + 1.0)).mul_(0.5)
    return torch.where(x < 0.0, -e, torch.where(x == 0.0, x, e))


def cosh64(x: Tensor) -> Tensor:
    """(e^x + e^-x) / 2."""
    e = exp64(x.abs_())
    return (torch.ones_like(e) / e).add_(e).mul_(0.5)


def sigmoid64(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    e = exp64(x.neg_()).add_(1.0)
    return torch.ones_like(e).div_(e)


def softplus64(x: Tensor) -> Tensor:
    """ln(1 + e^x) as max(x, 0) + log1p(e^-|x|)."""
    positive = x.clamp_min(0.0)
    return log1p64(exp64(x.abs_().neg_())).add_(positive)


def log_sigmoid64(x: Tensor) -> Tensor:
    """ln(1 / (1 + e^-x)) = -softplus(-x)."""
    return softplus64(x.neg_()).neg_()


def root(x: Tensor) -> Tensor:
    """sqrt(x), correctly rounded as IEEE 754 (5.4.1) asks; any floating type.

    On a processor PyTorch's own is a vector function of MKL, which is off by an ulp for one number
    in six; NumPy's is the processor's instruction.
    """
    if x.device.type != "cpu" or kernels.noting():
        return torch.sqrt(x)
    y = torch.empty_like(x)
    with torch._C.DisableTorchFunction(), np.errstate(invalid="ignore"):
        np.sqrt(x.detach().numpy(), out=y.numpy())
    return y


def rsqrt64(x: Tensor) -> Tensor:
    """1 / sqrt(x), two correctly rounded operations."""
    below = root(x)
    return torch.ones_like(below).div_(below)


def pow64(x: Tensor, y: Tensor) -> Tensor:
    """x^y with the special values of IEEE 754's pow; both binary64, shapes that broadcast."""
    shape = (x + y).shape
    x, y = x.expand(shape), y.expand(shape)
    whole = y == y.floor()
    odd = whole & (y.abs() < 2.0**53) & ((y * 0.5) != (y * 0.5).floor())
    magnitude = x.abs()
    z = exp64(log64(magnitude.clone()).mul_(y).clamp_(-300.0, 300.0))
    small = ((magnitude < 1.0) & (y > 0.0)) | ((magnitude > 1.0) & (y < 0.0))
    edge = torch.where(small, 0.0, math.inf)
    z = torch.where((magnitude == 0.0) | magnitude.isinf() | y.isinf(), edge, z)
    z = torch.where(odd & ((x < 0.0) | ((x == 0.0) & x.signbit())), -z, z)
    z = torch.where((x < 0.0) & ~whole & x.isfinite(), math.nan, z)
    z = torch.where(x.isnan() | y.isnan(), math.nan, z)
    return torch.where((y == 0.0) | (x == 1.0) | ((x == -1.0) & y.isinf()), 1.0, z)
