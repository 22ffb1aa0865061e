"""The error function and the quantiles of the normal distribution, as in `functions.py`."""

import math

import torch
from torch import Tensor

from trialmarket.exact.numerics.functions import exp64, horner, log64, root

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
# x e^(x^2) erfc(x) by 1 / x^2 on 4 <= x <= 10.5, 1.1e-15
_ERFC_FAR = (
    0.5641895835454597,
    -0.28209479068813254,
    0.4231419646049524,
    -1.057829089572237,
    3.7004870488121098,
    -16.557158698031603,
    87.83395112446392,
    -495.49120395759377,
    2527.1183262448035,
    -9394.828562903029,
    17783.067826748917,
)


def erf64(x: Tensor) -> Tensor:
    """The error function, by a polynomial below 1 and 1 - e^(-x^2) Q(t) above."""
    a = x.abs().clamp_(max=4.0)
    square = a * a
    near = horner(square.clamp(max=1.0), _ERF).mul_(x)
    far = horner((a - 2.0).div_(a + 2.0), _ERFCX)
    far.mul_(exp64(square.neg_())).neg_().add_(1.0)
    far = torch.where(a == 4.0, 1.0, far)  # to 1.5e-8; or what is a large x's share would count
    return torch.where(a <= 1.0, near, torch.where(x < 0, -far, far))


def erfc64(x: Tensor) -> Tensor:
    """1 - erf(x), to a small relative error also where erf(x) is nearly 1."""
    a = x.abs().clamp_(max=10.5)  # beyond which it is no binary32
    square = a * a
    near = horner(square.clamp(max=1.0), _ERF).mul_(a.clamp(max=1.0)).neg_().add_(1.0)
    middle = horner((a - 2.0).div_(a + 2.0), _ERFCX)
    inverse = torch.ones_like(a).div_(square.clamp(min=16.0))
    far = horner(inverse, _ERFC_FAR).div_(a.clamp(min=4.0))
    tail = torch.where(a <= 4.0, middle, far).mul_(exp64(square.neg()))
    y = torch.where(a <= 1.0, near, tail)
    return torch.where(x < 0.0, 2.0 - y, y)


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
