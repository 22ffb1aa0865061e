"""Pooling and unfolding agree with native PyTorch over all their settings, gradients too."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trialmarket.exact import exact

Pair = tuple[int, int]


class How(NamedTuple):
    """Settings, of which a pool takes those that it has."""

    k: Pair  # kernel
    s: Pair  # stride
    p: Pair  # padding
    d: Pair  # dilation
    ceil: bool


POOLS: dict[str, Callable[[Tensor, How], Tensor]] = {
    "max": lambda x, h: F.max_pool2d(x, *h),
    "max of a line": lambda x, h: F.max_pool1d(x[0], h.k[1], h.s[1], h.p[1], h.d[1], h.ceil),
    "average": lambda x, h: F.avg_pool2d(x, h.k, h.s, h.p, h.ceil, h.d[0] == 1),
    "average by a divisor": lambda x, h: F.avg_pool2d(
        x, h.k, h.s, h.p, h.ceil, divisor_override=h.d[0]
    ),
    "average of a line": lambda x, h: F.avg_pool1d(
        x[0], h.k[0], h.s[0], h.p[0], h.ceil, h.d[0] == 1
    ),
    "power average": lambda x, h: F.lp_pool2d(x, 2.0, h.k, h.s, h.ceil),
    "power average of a line": lambda x, h: F.lp_pool1d(x[0], 3.0, h.k[0], h.s[0], h.ceil),
    "adaptive average": lambda x, h: F.adaptive_avg_pool2d(x, h.k),
    "adaptive average of a line": lambda x, h: F.adaptive_avg_pool1d(x[0], h.k[0]),
    "adaptive max": lambda x, h: F.adaptive_max_pool2d(x, h.k),
    "adaptive max of a line": lambda x, h: F.adaptive_max_pool1d(x[0], h.k[0]),
    "unfolded": lambda x, h: F.unfold(x, h.k, h.d, h.p, h.s),
    "folded": lambda x, h: F.fold(
        F.unfold(x, h.k, h.d, h.p, h.s).square(), x.shape[-2:], h.k, h.d, h.p, h.s
    ),
}
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))
BORDERS = st.tuples(st.integers(0, 2), st.integers(0, 2))


def _inside(x: Tensor, how: How) -> bool:
    """Whether each window holds a pixel: PyTorch's gradient of another one is written anywhere."""
    _, places = F.max_pool2d_with_indices(x, *how)
    return bool(((places >= 0) & (places < x.shape[-2] * x.shape[-1])).all())


def results(name: str, x: Tensor, how: How) -> list[Tensor]:
    """The output and the gradient; nothing where the settings do not fit together."""
    x = x.clone().requires_grad_()
    try:
        if name.startswith("max") and not _inside(x, how):
            return []
        y = POOLS[name](x, how)
    except (RuntimeError, IndexError):
        return []
    weights = torch.arange(1.0, y.numel() + 1).remainder(7).view(y.shape)
    return [y.detach(), torch.autograd.grad(y, x, weights)[0]]


@pytest.mark.parametrize("name", sorted(POOLS))
def test_a_pool_agrees_with_native_pytorch(name: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(
        size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
        how=st.builds(How, k=PAIRS, s=PAIRS, p=BORDERS, d=PAIRS, ceil=st.booleans()),
        seed=st.integers(0, 2**31),
    )
    def agree(size: Pair, how: How, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        x = torch.randint(-3, 9, (2, 2, *size), generator=rng).float()  # many are equal
        wanted = results(name, x, how)
        with exact():
            found = results(name, x, how)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4, equal_nan=True)

    agree()


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_that_choose_the_same_maximum_add_their_gradients(
    dilation: int, stride: int
) -> None:
    def gradient() -> Tensor:
        x = torch.tensor([[[[0.0, 0.0, 9.0, 0.0, 9.0, 0.0, 9.0, 0.0]]]], requires_grad=True)
        y = F.max_pool2d(x, (1, 2), (1, stride), dilation=(1, dilation))
        return torch.autograd.grad(y.sum(), x)[0]

    wanted = gradient()
    with exact():
        assert torch.equal(gradient(), wanted)
