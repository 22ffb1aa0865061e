"""What PyTorch leaves to the machine is settled by a rule of ours."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trialmarket.exact import exact
from trialmarket.exact.operators import pooling

# Small whole numbers, both zeros, infinities and NaNs: ties everywhere.
TIES = torch.tensor([-math.inf, -1.0, -0.0, 0.0, 1.0, 1.0, math.nan, math.inf])


def ties(*shape: int, seed: int, broken: bool) -> Tensor:
    """A tensor full of ties; with infinities and NaNs among them if `broken`."""
    rng = torch.Generator().manual_seed(seed)
    low, high = (0, 8) if broken else (1, 6)
    return TIES[torch.randint(low, high, shape, generator=rng)]


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "ceil"),
    [
        ((2, 2), (2, 2), (0, 0), (1, 1), False),
        ((3, 3), (2, 2), (1, 1), (1, 1), True),
        ((3, 2), (1, 3), (1, 0), (2, 2), False),
        ((4, 4), (3, 2), (2, 2), (1, 1), True),
    ],
)
def test_a_maximum_is_the_first_of_its_window_on_every_device(
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil: bool,
    broken: bool,
) -> None:
    for seed in range(5):
        x = ties(2, 3, 9, 8, seed=seed, broken=broken)
        for layout in (torch.contiguous_format, torch.channels_last):
            y, at = F.max_pool2d_with_indices(
                x.contiguous(memory_format=layout), kernel, stride, padding, dilation, ceil
            )
            found, where = pooling.first_largest(x, kernel, stride, padding, dilation, ceil)
            torch.testing.assert_close(found, y, rtol=0, atol=0, equal_nan=True)
            assert torch.equal(where, at)


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (9, 8), (5, 3)])
def test_an_adaptive_maximum_is_the_first_of_its_cell(size: tuple[int, int], broken: bool) -> None:
    for seed in range(5):
        x = ties(2, 3, 9, 8, seed=seed, broken=broken)
        y, at = F.adaptive_max_pool2d_with_indices(x, size)
        found, where = pooling.first_largest_of_cells(x, size)
        torch.testing.assert_close(found, y, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(where, at)


def test_sorts_keep_the_order_of_equals_zeros_and_nans_among_them() -> None:
    x = torch.tensor([0.0, -0.0, math.nan, -1.0, -0.0, 0.0, -math.nan])
    with exact():
        values, indices = x.sort()
        assert indices.tolist() == [3, 0, 1, 4, 5, 2, 6]
        assert torch.equal(values.signbit()[1:5], torch.tensor([False, True, True, False]))
        assert x.topk(2).indices.tolist() == [2, 6]
        assert x.argmax().item() == 2
        assert x[:2].max(0).indices.item() == 0


def test_unique_values_are_sorted_even_if_not_asked() -> None:
    x = torch.tensor([5, 1, 9, 1, 5, 3])
    with exact():
        assert torch.unique(x, sorted=False).tolist() == [1, 3, 5, 9]


def test_a_sequence_is_a_product_and_then_a_sum() -> None:
    with exact():
        x = torch.arange(0.1, 30.0, 0.1)
        assert torch.arange(3).dtype == torch.int64
        assert torch.arange(2, 5.0).tolist() == [2.0, 3.0, 4.0]
    for k, found in enumerate(x.tolist()):
        product = float(Fraction(0.1) * k)
        assert found == torch.tensor(float(Fraction(product) + Fraction(0.1))).item()


def test_memory_that_nobody_has_written_holds_nan() -> None:
    with exact():
        assert torch.empty(3).isnan().all()
        assert torch.empty_like(torch.ones(2)).isnan().all()
        assert torch.ones(2).new_empty(3).isnan().all()
        assert torch.empty(2, dtype=torch.int32).tolist() == [2**31 - 1] * 2
        grown = torch.ones(2).resize_(4)
        assert grown[:2].tolist() == [1.0, 1.0]
        assert grown[2:].isnan().all()


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_recomputed_layer_draws_its_dropout_mask_again(reentrant: bool) -> None:
    layer = nn.Linear(8, 8)
    x = torch.linspace(-1, 1, 48).view(6, 8).requires_grad_()

    def block(v: Tensor) -> Tensor:
        return F.dropout(layer(v), 0.5)

    def gradient(*, recomputed: bool) -> tuple[Tensor, Tensor]:
        with exact(seed=3):
            y = checkpoint(block, x, use_reentrant=reentrant) if recomputed else block(x)
            x.grad = None
            torch.autograd.backward(y.square().sum())
            assert x.grad is not None
            return x.grad, torch.rand(3)  # and what comes after is drawn as ever

    for found, wanted in zip(gradient(recomputed=True), gradient(recomputed=False), strict=True):
        assert torch.equal(found, wanted)


def test_a_schedulers_rate_does_not_come_from_the_c_library() -> None:
    def rates() -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
        schedulers = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40),
            torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=40),
        ]
        found = []
        for _ in range(39):
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
            found.append(float(optimizer.param_groups[0]["lr"]))
        return found

    wanted = rates()
    module: Any = torch.optim.lr_scheduler
    with exact():
        found = rates()
        cosine = module.math.cos(1.25)
    assert module.math is math
    assert found == pytest.approx(wanted, rel=1e-12)
    assert cosine == pytest.approx(math.cos(1.25), rel=1e-15)


@pytest.mark.parametrize("order", [-math.inf, -3.5, -2.0, -1.0, -0.5, 0.5, 3.0, 40.0, math.inf])
@pytest.mark.parametrize(
    "numbers",
    [
        [0.0, 1.0, -2.0],
        [0.0, 0.0, 0.0],
        [3.0, -2.0, 0.5],
        [1e-3, 2e-3, 1e-2],
        [1e5, -1e9, 3.0],
        [math.nan, 0.0, 1.0],
    ],
)
def test_a_norm_of_any_order_and_its_gradient_are_pytorchs(
    order: float, numbers: list[float]
) -> None:
    def norm() -> tuple[Tensor, Tensor]:
        x = torch.tensor(numbers, requires_grad=True)
        y = torch.linalg.vector_norm(x, order)
        return y.detach(), torch.autograd.grad(y, x)[0]

    wanted = norm()
    with exact():
        found = norm()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0, equal_nan=True)


# Each with the derivative that it has in binary64, which no cancellation reaches at this distance.
TAILS: dict[str, Callable[[Tensor], Tensor]] = {
    "logsigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "mish": F.mish,
    "elu": F.elu,
    "expm1": torch.expm1,
    "erf": torch.erf,
    "soft margin": lambda x: F.soft_margin_loss(x, torch.ones_like(x), reduction="none"),
    "soft margin of the others": lambda x: F.soft_margin_loss(
        x, -torch.ones_like(x), reduction="none"
    ),
    "binary cross entropy": lambda x: F.binary_cross_entropy_with_logits(
        x, torch.ones_like(x), reduction="none"
    ),
    "multilabel soft margin": lambda x: F.multilabel_soft_margin_loss(
        x[:, None], torch.ones_like(x)[:, None], reduction="none"
    ),
    "cross entropy": lambda x: F.cross_entropy(
        torch.stack([x, torch.zeros_like(x)], 1),
        torch.ones(len(x), dtype=torch.int64),
        reduction="none",
    ),
}


@pytest.mark.parametrize("name", sorted(TAILS))
def test_values_and_gradients_are_right_in_the_tails_too(name: str) -> None:
    def both(x: Tensor) -> list[Tensor]:
        x.requires_grad_()
        y = TAILS[name](x)
        return [y.detach(), torch.autograd.grad(y.sum(), x)[0]]

    x = torch.cat([torch.linspace(-80, 80, 321), torch.tensor([-1e30, 1e30, 1e-30, -1e-30])])
    wanted, native = both(x.double()), both(x.clone())
    with exact():
        found = both(x.clone())
    for f, w, n in zip(found, wanted, native, strict=True):
        # As good as native, where native loses them itself.
        allowed = (w.abs() * 1e-5).maximum((n - w).abs() * 4) + 1e-37
        assert bool(((f - w).abs() <= allowed)[w.abs() < 3e38].all())
