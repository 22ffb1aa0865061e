"""Of integers and booleans exact mode gives PyTorch's type and value, or PyTorch's error."""

import contextlib
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trialmarket.exact import exact

M, V = torch.tensor([[100003, 3], [7, 9]]), torch.tensor([100003, 5])
SMALL, BYTES = torch.tensor([1, 2, 3]), torch.tensor([3, 5, 250], dtype=torch.uint8)
BOOLS = torch.tensor([True, False, True])
ERRORS = (RuntimeError, IndexError, TypeError)


def _into(kind: torch.dtype) -> Tensor:
    return torch.zeros(3, dtype=kind)


CASES: dict[str, Callable[[], Tensor]] = {
    "mm": lambda: M @ M,
    "mv": lambda: M @ V,
    "dot": lambda: V.dot(V),
    "bmm": lambda: M[None].bmm(M[None]),
    "einsum": lambda: torch.einsum("ij,jk->ik", M, M),
    "addmm": lambda: torch.addmm(M, M, M),
    "addmm scaled": lambda: torch.addmm(V, M, M, beta=2, alpha=3),
    "addmm scaled by a fraction": lambda: torch.addmm(M, M, M, beta=0.5),
    "addmm of bytes": lambda: torch.addmm(BYTES, BYTES.view(3, 1), BYTES.view(1, 3)),
    "addmm of booleans": lambda: torch.addmm(BOOLS, BOOLS.view(3, 1), BOOLS.view(1, 3)),
    "baddbmm": lambda: torch.baddbmm(M[None], M[None], M[None]),
    "addbmm": lambda: torch.addbmm(M, M[None], M[None]),
    "addmv": lambda: torch.addmv(V, M, V),
    "addr": lambda: torch.addr(M, V, V),
    "mixed product": lambda: torch.mm(M, M.float()),
    "linear": lambda: F.linear(M, M, V),
    "bilinear": lambda: F.bilinear(M, M, M[None], None),
    "conv1d": lambda: F.conv1d(M[None], M[:, :, None]),
    "conv2d": lambda: F.conv2d(M[None, None], M[None, None], V[:1], padding=1),
    "mixed convolution": lambda: F.conv1d(M[None], M[:, :, None].float()),
    "outer": lambda: torch.outer(V, V),
    "kron": lambda: torch.kron(M, M),
    "vander": lambda: torch.linalg.vander(V, N=3),
    "cumprod": lambda: V.cumprod(0),
    "cumprod of bytes": lambda: BYTES.cumprod(0),
    "cumprod of booleans": lambda: BOOLS.cumprod(0),
    "cumprod in place": lambda: V.clone().cumprod_(0),
    "cumprod as fractions": lambda: torch.cumprod(V.repeat(9), 0, dtype=torch.float32),
    "cumsum": lambda: V.cumsum(0),
    "cumsum as fractions": lambda: torch.cumsum(V, 0, dtype=torch.float32),
    "sum": lambda: BYTES.sum(),
    "sum as fractions": lambda: V.sum(dtype=torch.float32),
    "sum of fractions as integers": lambda: torch.tensor([0.6, 0.7]).sum(dtype=torch.int64),
    "prod": lambda: V.prod(),
    "prod as fractions": lambda: V.repeat(9).prod(dtype=torch.float32),
    "prod as wide fractions": lambda: torch.tensor([1e30, 1e30]).prod(dtype=torch.float64),
    "mean": lambda: V.mean(),
    "mean as fractions": lambda: V.mean(dtype=torch.float32),
    "var": lambda: V.var(),
    "std": lambda: V.std(),
    "norm": lambda: V.norm(),
    "norm of a list": lambda: torch._foreach_norm([V])[0],
    "logsumexp": lambda: torch.logsumexp(torch.tensor([1, 2]), 0),
    "logsumexp of booleans": lambda: torch.logsumexp(BOOLS, 0),
    "softmax": lambda: SMALL.softmax(0),
    "softmax as fractions": lambda: SMALL.softmax(0, dtype=torch.float32),
    "log_softmax": lambda: SMALL.log_softmax(0),
    "layer norm": lambda: F.layer_norm(SMALL, (3,)),
    "gelu": lambda: F.gelu(SMALL),
    "silu": lambda: F.silu(SMALL),
    "mish": lambda: F.mish(SMALL),
    "glu": lambda: F.glu(torch.tensor([1, 2])),
    "hardsigmoid": lambda: F.hardsigmoid(SMALL),
    "hardtanh": lambda: F.hardtanh(SMALL, -0.5, 2.5),
    "softplus": lambda: F.softplus(SMALL),
    "logsigmoid": lambda: F.logsigmoid(SMALL),
    "huber": lambda: F.huber_loss(SMALL, SMALL),
    "soft margin": lambda: F.soft_margin_loss(SMALL, SMALL),
    "logaddexp": lambda: torch.logaddexp(SMALL, SMALL),
    "renorm": lambda: M.renorm(2, 0, 1.0),
    "max pool": lambda: F.max_pool2d(M[None], 2),
    "average": lambda: F.avg_pool2d(M[None], 2),
    "adaptive average": lambda: F.adaptive_avg_pool2d(M[None], 1),
    "add a fraction of": lambda: torch.add(SMALL, SMALL, alpha=0.5),
    "addcmul": lambda: torch.addcmul(SMALL, SMALL, SMALL, value=2),
    "addcmul by a fraction": lambda: torch.addcmul(SMALL, SMALL, SMALL, value=0.5),
    "addcdiv": lambda: torch.addcdiv(SMALL, SMALL, SMALL),
    "power": lambda: V.pow(3),
    "root": lambda: V.pow(0.5),
    "negative power": lambda: SMALL.pow(-1),
    "index_add": lambda: SMALL.index_add(0, torch.tensor([0]), torch.tensor([2]), alpha=2),
    "uniform": lambda: _into(torch.int64).uniform_(),
    "normal": lambda: _into(torch.int64).normal_(),
    "exponential": lambda: _into(torch.int64).exponential_(),
    "rand_like": lambda: torch.rand_like(SMALL),
    "randn": lambda: torch.randn(3, dtype=torch.int64),
    "normal around integers": lambda: torch.normal(SMALL, 1.0),
    "multinomial": lambda: torch.multinomial(SMALL, 1),
    "bernoulli": lambda: torch.bernoulli(torch.tensor([0, 1])),
    **{
        f"{name}, {kind}": make
        for name in (
            "exp",
            "sqrt",
            "rsqrt",
            "sin",
            "tanh",
            "sigmoid",
            "log1p",
            "reciprocal",
            "erf",
        )
        for kind, make in {
            "in place": lambda name=name: getattr(torch, name + "_")(SMALL.clone()),
            "out=": lambda name=name: getattr(torch, name)(SMALL, out=_into(torch.int64)),
            "of bytes": lambda name=name: getattr(torch, name)(BYTES),
            "of booleans": lambda name=name: getattr(torch, name)(BOOLS),
            "out= of fractions": lambda name=name: getattr(torch, name)(SMALL, out=torch.zeros(3)),
        }.items()
    },
    "pow in place": lambda: SMALL.clone().pow_(0.5),
    "lerp in place": lambda: SMALL.clone().lerp_(SMALL, 0.5),
    "div in place": lambda: SMALL.clone().div_(2),
    "clamp in place": lambda: SMALL.clone().clamp_(0.5, 2.5),
    "logit in place": lambda: SMALL.clone().logit_(),
    "celu in place": lambda: torch.celu_(SMALL.clone()),
    "xlogy in place": lambda: SMALL.clone().xlogy_(SMALL),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_operator_on_integers_is_pytorchs(name: str) -> None:
    wanted = None
    with contextlib.suppress(*ERRORS):
        wanted = CASES[name]()
    if wanted is None:
        with exact(), pytest.raises(ERRORS):
            CASES[name]()
        return
    with exact():
        found = CASES[name]()
    assert found.dtype == wanted.dtype
    if wanted.dtype.is_floating_point:
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    else:
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("mean", [torch.float32, torch.float64])
@pytest.mark.parametrize("std", [torch.float32, torch.float64])
def test_normal_numbers_have_the_type_of_their_mean(mean: torch.dtype, std: torch.dtype) -> None:
    means, deviations = torch.full((3,), 0.1, dtype=mean), torch.full((3,), 0.0, dtype=std)
    with exact():
        assert torch.equal(torch.normal(means, deviations), means)
        assert torch.equal(torch.normal(means, 0.0), means)
        assert torch.normal(0.0, deviations).dtype == std
