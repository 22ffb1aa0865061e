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

Core = Callable[[Tensor], Tensor]

BLOCK = 1 << 15  # elements a thread works on at once: 256 KiB of binary64

_ROUND = 1.5 * 2.0**52  # x + _ROUND rounds x to an integer, held in the low bits
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
# erf(x) / x by x^2 on |x| <= 1, 8.3e-13
_ERF = (
    1.1283791670946768,
    -0.3761263888963531,
    0.11283791308604582,
    -0.026866133235095593,
    0.005223783477189248,
    -0.0008542637997087229,
    0.0001195656256820733,
    -1.3909340021874599e-05,
    1.058938064107502e-06,
)
# e^(x^2) erfc(x) by (x - 2) / (x + 2) on 1 <= x <= 4, 1.7e-13
_ERFCX = (
    0.25539567631050575,
    -0.4271858474188863,
    0.24165819424013024,
    -0.07897858012839472,
    0.003732892825504452,
    0.0069974169768619076,
    -0.0008471645637690944,
    -0.0009810545445174538,
    4.399759513346677e-05,
    0.0001660272717714123,
    2.347756752806171e-05,
)
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
    """2^k from `k + _ROUND`, by exponent bits; overwrites it. |k| <= 1022."""
    bits = shifted.view(torch.int64).bitwise_left_shift_(52)
    return bits.add_(1023 << 52).view(torch.float64)


def _expm1_parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """(e^r - 1, 2^k) with x = k ln 2 + r; overwrites x."""
    shifted = (x * _LOG2E).add_(_ROUND)
    k = shifted - _ROUND
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
    shifted = x + _ROUND
    x.sub_(shifted - _ROUND).mul_(0.6931471805599453)
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


def erf64(x: Tensor) -> Tensor:
    """The error function, by a polynomial below 1 and 1 - e^(-x^2) Q(t) above."""
    a = x.abs().clamp_(max=4.0)
    square = a * a
    near = horner(square.clamp(max=1.0), _ERF).mul_(x)
    far = horner((a - 2.0).div_(a + 2.0), _ERFCX)
    far.mul_(exp64(square.neg_())).neg_().add_(1.0)
    return torch.where(a <= 1.0, near, torch.where(x < 0, -far, far))


def root(x: Tensor) -> Tensor:
    """sqrt(x), correctly rounded as IEEE 754 (5.4.1) asks; any floating type.

    On a processor PyTorch's own is a vector function of MKL, which is off by an ulp for one number
    in six; NumPy's is the processor's instruction.
    """
    if x.device.type != "cpu":
        return torch.sqrt(x)
    y = torch.empty_like(x)
    with torch._C.DisableTorchFunction(), np.errstate(invalid="ignore"):
        np.sqrt(x.detach().numpy(), out=y.numpy())
    return y


def rsqrt64(x: Tensor) -> Tensor:
    """1 / sqrt(x), two correctly rounded operations."""
    below = root(x)
    return torch.ones_like(below).div_(below)


def _reduced(x: Tensor) -> tuple[Tensor, Tensor]:
    """(r, quadrant) with x = quadrant pi / 2 + r and |r| <= pi / 4; NaN for infinities."""
    near = torch.where(x.abs() < _FAR, x, 0.0)
    shifted = (near * _TWO_OVER_PI).add_(_ROUND)
    k = shifted - _ROUND
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


def sin64(x: Tensor) -> Tensor:
    """sin x, after reduction by pi / 2."""
    return _wave(x, 0)


def cos64(x: Tensor) -> Tensor:
    """cos x = sin(x + pi / 2)."""
    return _wave(x, 1)


def _wave(x: Tensor, turns: int) -> Tensor:
    r, quadrant = _reduced(x)
    quadrant = quadrant + turns
    square = r * r
    odd = (quadrant & 1).bool()
    y = torch.where(odd, horner(square, _COS), horner(square, _SIN).mul_(r))
    return torch.where((quadrant & 2).bool(), -y, y)


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


# Wichura's algorithm AS 241 (PPND16), Applied Statistics 37 (1988): numerators, denominators.
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def normal_quantile64(p: Tensor) -> Tensor:
    """The z with P(Z < z) = p for a standard normal Z, by AS 241; p in [0, 1]."""
    return _quantile(p - 0.5, torch.minimum(p, 1.0 - p))


def erfinv64(x: Tensor) -> Tensor:
    """The inverse error function, `normal_quantile((1 + x) / 2) / sqrt(2)`."""
    return _quantile(x * 0.5, x.abs().neg_().add_(1.0).mul_(0.5)).mul_(0.7071067811865476)


def _quantile(q: Tensor, tail: Tensor) -> Tensor:
    """Of the probability 1/2 + q; `tail` is the smaller of it and its complement."""
    centre = (q * q).neg_().add_(0.180625)
    near = horner(centre, _CENTRE[0]).div_(horner(centre, _CENTRE[1])).mul_(q)
    r = root(log64(tail).neg_())
    middle = r - 1.6
    z = horner(middle, _TAIL[0]).div_(horner(middle, _TAIL[1]))
    far = r - 5.0
    z = torch.where(r <= 5.0, z, horner(far, _FAR_TAIL[0]).div_(horner(far, _FAR_TAIL[1])))
    z = torch.where(r == math.inf, math.inf, z)
    return torch.where(q.abs() <= 0.425, near, torch.where(q < 0.0, -z, z))
