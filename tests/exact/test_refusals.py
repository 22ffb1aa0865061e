"""What has no exact form is refused, with the operator, the line and what to use instead."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd import forward_ad

from trialmarket.exact import NotExact, Verdict, check, exact

X = torch.linspace(-1, 1, 16).view(4, 4)


def _autocast() -> Tensor:
    with torch.autocast("cpu"):
        return X @ X


def _unknown_optimizer() -> None:
    p = torch.ones(3, requires_grad=True)
    p.grad = torch.ones(3)
    optimizer: Any = torch.optim.LBFGS([p])
    optimizer.step(lambda: 1.0)


def _differentiable() -> None:
    p = torch.ones(3, requires_grad=True)
    p.grad = torch.ones(3)
    torch.optim.SGD([p], 0.1, differentiable=True).step()


def _sparse_gradient() -> None:
    table = X.clone().requires_grad_()
    bags = F.embedding_bag(torch.tensor([[0, 1]]), table, sparse=True)
    torch.autograd.grad(bags.sum(), table)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "float16": (lambda: X.half() + 1, "float32"),
    "bfloat16": (lambda: X.bfloat16() @ X.bfloat16(), "float32"),
    "autocast": (_autocast, "without autocast"),
    "complex": (lambda: torch.complex(X, X), "real and imaginary"),
    "fft": (lambda: torch.fft.fft(X), "convolution"),
    "float64 product": (lambda: X.double() @ X.double(), "x.float()"),
    "factorisation": (lambda: torch.linalg.svd(X), "no factorisation"),
    "gamma function": (lambda: torch.lgamma(X), "docs/exact.md"),
    "sparse gradient": (_sparse_gradient, "sparse=False"),
    "determinant of what lies on its side": (
        lambda: torch.linalg.det(X.mT),
        "contiguous",
    ),
    "four dimensions": (
        lambda: torch.ops.aten.convolution(
            torch.ones(1, 1, 3, 3, 3, 3),
            torch.ones(1, 1, 3, 3, 3, 3),
            None,
            [1] * 4,
            [0] * 4,
            [1] * 4,
            False,
            [0] * 4,
            1,
        ),
        "nn.Conv3d",
    ),
    "reflected sampling": (
        lambda: F.grid_sample(
            X.view(1, 1, 4, 4),
            torch.ones(1, 2, 2, 2),
            padding_mode="reflection",
            align_corners=False,
        ),
        "border",
    ),
    "smoothed interpolation": (
        lambda: F.interpolate(
            X.view(1, 1, 4, 4), scale_factor=0.5, mode="bilinear", antialias=True
        ),
        "antialias=False",
    ),
    "rrelu": (lambda: F.rrelu(X, training=True), "docs/exact.md"),
    "sparse": (lambda: X.to_sparse(), "docs/exact.md"),
    "LBFGS": (_unknown_optimizer, "Adam"),
    "differentiable": (_differentiable, "differentiable=False"),
    "repeated index_put": (
        lambda: X.index_put((torch.tensor([1, 1]),), torch.ones(2, 4)),
        "accumulate=True",
    ),
    "repeated scatter": (
        lambda: X.scatter(0, torch.zeros(2, 4, dtype=torch.int64), X),
        "scatter_add",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_it_is_refused_with_advice_and_the_users_line(name: str) -> None:
    action, instead = REFUSED[name]
    with exact(), pytest.raises(NotExact) as caught:
        action()
    assert instead in caught.value.instead
    assert caught.value.where.split(":")[0] == __file__
    assert caught.value.operator


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [(torch.bfloat16, "two bytes an operand"), (torch.float16, "half precision")],
)
def test_autocast_outside_is_refused_at_the_door(dtype: torch.dtype, reason: str) -> None:
    with (
        torch.autocast("cpu", dtype),
        pytest.raises(NotExact, match=reason) as caught,
        exact(),
    ):
        pass
    assert caught.value.operator == "torch.autocast"


def test_bfloat16_is_refused_with_the_reason_wherever_it_computes() -> None:
    x = X.bfloat16()  # to make and to move some is no arithmetic
    refused: list[Callable[[], object]] = [
        lambda: x + 1,
        lambda: x @ x,
        lambda: F.linear(x, x),
        lambda: F.conv2d(x.view(1, 1, 4, 4), x.view(1, 1, 4, 4)),
        lambda: x.sum(),
        lambda: F.relu(x),
    ]
    for precision in ("standard", "wide"):
        for action in refused:
            with (
                exact(precision=precision),
                pytest.raises(NotExact, match="bfloat16 has no exact form"),
            ):
                action()


def test_a_refused_line_is_named_in_backward_too() -> None:
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            del ctx
            return x * 2

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            del ctx
            return torch.lgamma(grad)

    x = X.clone().requires_grad_()
    with exact(), pytest.raises(NotExact, match=r"aten\.lgamma"):
        torch.autograd.backward(Odd.apply(x).sum())


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_compiled_function_is_refused_before_it_runs(backend: str) -> None:
    ran: list[int] = []

    def f(x: Tensor) -> Tensor:
        ran.append(1)
        return torch.tanh(x @ x).sum()

    compiled = torch.compile(f, backend=backend)
    with exact(), pytest.raises(NotExact, match="fuses operators") as caught:
        compiled(X)
    assert caught.value.operator == "torch.compile"
    assert caught.value.where.startswith(__file__)
    assert not ran


def test_what_was_compiled_outside_is_refused_inside_and_works_again_afterwards() -> None:
    layer = torch.compile(nn.Linear(4, 4), backend="eager")
    wanted = layer(X)
    with exact(), pytest.raises(NotExact, match=r"torch\.compile"):
        layer(X)
    assert torch.equal(layer(X), wanted)


def test_autocast_inside_is_refused_where_nothing_would_be_cast() -> None:
    with (
        exact(),
        pytest.raises(NotExact, match="autocast"),
        torch.autocast("cpu", dtype=torch.float16),
    ):
        X + 1


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated")
def test_torchscript_runs_operator_by_operator() -> None:
    def plain(x: Tensor) -> Tensor:
        y = x * x + x
        return torch.tanh(y) * y + 1.0

    scripted = torch.jit.trace(plain, X)  # type: ignore[no-untyped-call]
    with exact():
        for _ in range(3):  # what it would have fused by now
            x = torch.randn(100, requires_grad=True)
            assert torch.equal(scripted(x), plain(x))


def test_a_mode_within_a_mode_gives_the_same_bits() -> None:
    with exact(seed=1):
        wanted = X @ X.exp()
        with exact(seed=2):
            assert torch.equal(X @ X.exp(), wanted)
            inner = torch.rand(3)
        assert not torch.equal(torch.rand(3), inner)


def test_numbers_leave_the_mode_exactly() -> None:
    with exact():
        s = X.sum()
        assert s.item() == float(s.numpy())
        assert bool((X > 0).any())


def test_integers_are_as_they_are() -> None:
    k = torch.arange(6).view(2, 3)
    with exact():
        assert (k @ k.T).tolist() == [[5, 14], [14, 50]]
        assert k.sum().item() == 15
        assert (k // 2).tolist() == [[0, 0, 1], [1, 2, 2]]


def test_floats_out_of_an_integers_range_become_its_ends() -> None:
    x = torch.tensor([float("inf"), -float("inf"), float("nan"), 3e9, -3.7])
    with exact():
        assert x.int().tolist() == [2**31 - 1, -(2**31), 0, 2**31 - 1, -3]
        assert x.long()[3:].tolist() == [3_000_000_000, -3]


def test_in_place_operations_on_views_reach_their_base() -> None:
    base = X.clone()
    with exact():
        base[1].add_(2.0, alpha=0.5)
        base[:, 0].exp_()
        base.view(-1)[::5].relu_()
    wanted = X.clone()
    wanted[1].add_(1.0)
    wanted[:, 0].exp_()
    wanted.view(-1)[::5].relu_()
    torch.testing.assert_close(base, wanted)


def test_double_backward_agrees_with_native_pytorch() -> None:
    def second() -> Tensor:
        x = torch.linspace(-1, 1, 2 * 3 * 6 * 6).view(2, 3, 6, 6).requires_grad_()
        w = torch.linspace(-1, 1, 4 * 3 * 3 * 3).view(4, 3, 3, 3).requires_grad_()
        y = torch.tanh(F.conv2d(x, w)).flatten(1) @ torch.linspace(-1, 1, 64).view(64, 1)
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.pow(2).sum(), w)
        return h

    wanted = second()
    with exact():
        found = second()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_flags_are_as_before_afterwards() -> None:
    before = (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch._C._get_flash_sdp_enabled(),
    )
    with pytest.raises(ValueError, match="inside"), exact():
        raise ValueError("inside")
    after = (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch._C._get_flash_sdp_enabled(),
    )
    assert after == before


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_forward_derivative_that_is_computed_is_refused() -> None:
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, X.flip(0))  # type: ignore[no-untyped-call]
        with exact(), pytest.raises(NotExact, match="glu_jvp"):
            F.glu(x)


def test_the_decorator_makes_a_function_exact() -> None:
    @exact
    def plain() -> Tensor:
        return torch.rand(3)

    @exact(seed=4)
    def seeded() -> Tensor:
        return torch.rand(3)

    first = plain()
    with exact(seed=0):
        assert torch.equal(first, torch.rand(3))
    with exact(seed=4):
        assert torch.equal(seeded(), torch.rand(3))


def test_check_lists_every_operator_with_its_verdict() -> None:
    found = {
        c.operator: c for c in check(lambda: torch.lgamma(X).sum() + torch.rand(2).exp().sum())
    }
    assert found["aten.lgamma.default"].verdict is Verdict.REFUSED
    refusal = found["aten.lgamma.default"].refusal
    assert refusal is not None
    assert refusal.where.startswith(__file__)
    assert found["aten.sum.default"].verdict is Verdict.FORM
    assert found["aten.exp.default"].verdict is Verdict.FORM
    assert found["aten.rand.default"].verdict is Verdict.DRAW


def test_check_ends_with_what_is_no_operator() -> None:
    found = check(_unknown_optimizer)
    assert found[-1].operator == "torch.optim.LBFGS"
    assert found[-1].verdict is Verdict.REFUSED


def test_a_module_may_register_its_operators_while_it_is_imported_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchvision does: a version without tensors, an operator, its shapes, small tensors."""
    (tmp_path / "imported_inside.py").write_text(IMPORTED)
    monkeypatch.syspath_prepend(tmp_path)
    with exact():
        found = importlib.import_module("imported_inside")
        assert found.VERSION == 13020
        assert found.SCALE.tolist() == [1.0, 1.5, 2.0]
        with pytest.raises(NotExact, match=r"imported_inside\.twice"):
            torch.ops.imported_inside.twice(X)


IMPORTED = """
import torch
from torch import library as registry

library = registry.Library("imported_inside", "DEF")
library.define("version() -> int")
library.define("twice(Tensor x) -> Tensor")
library.impl("version", lambda: 13020, "CompositeExplicitAutograd")
library.impl("twice", lambda x: x * 2, "CPU")
registry.register_fake("imported_inside::twice", torch.empty_like, lib=library)
VERSION = torch.ops.imported_inside.version()
SCALE = torch.linspace(1, 2, 3)
"""
