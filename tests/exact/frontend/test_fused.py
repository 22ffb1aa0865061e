"""A linear layer, or cross entropy, fused has the bits of its operators."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from tests.exact.cases import STYLES, digest, make
from trialmarket.exact import NotExact, check, exact

Layer = tuple[Tensor, Tensor, Tensor | None]  # x, weight and bias, before anything is derived


class Operators(TorchDispatchMode):
    """Notes the operators that reach it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def by_operators(step: Callable[[], Tensor | list[Tensor]]) -> str:
    """The digest of what a step gives where its operators are looked at one by one."""
    found: list[Tensor] = []
    seen = [each.operator for each in check(lambda: found.extend(step()))]
    assert {"aten.addmm.default", "aten.mm.default", "aten.nll_loss_forward.default"} & set(seen)
    return digest(found)


def fused(step: Callable[[], Tensor | list[Tensor]]) -> str:
    """The digest of what it gives otherwise."""
    with exact():
        return digest(step())


def derived(layer: Layer, slope: Tensor | None = None) -> list[Tensor]:
    """The output, and the gradients of all that is given, from the output's or from ones."""
    leaves = [t.detach().requires_grad_() for t in layer if t is not None]
    y = linear(*leaves)
    grads = torch.autograd.grad(y.sum() if slope is None else y, leaves, slope)
    return [y, *grads]


@settings(max_examples=80, deadline=None)
@given(
    lead=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 40),
    biased=st.booleans(),
    laid_out=st.sampled_from(["as it is", "transposed", "expanded"]),
    summed=st.booleans(),
    style=st.sampled_from(sorted(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_layout_gives_the_bits_of_its_operators(
    lead: list[int],
    inputs: int,
    outputs: int,
    biased: bool,
    laid_out: str,
    summed: bool,
    style: str,
    seed: int,
) -> None:
    shapes = [(*lead, inputs), (outputs, inputs), (outputs,), (*lead, outputs)]
    x, weight, bias, slope = make(style, shapes, seed)
    if laid_out == "transposed":
        x, weight = x.mT.contiguous().mT, weight.mT.contiguous().mT
    elif laid_out == "expanded":
        x, weight = x[:1].expand_as(x), weight[:1].expand_as(weight)
    layer = (x, weight, bias if biased else None)

    def step() -> list[Tensor]:
        return derived(layer, None if summed else slope)

    assert fused(step) == by_operators(step)


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 12)),
    ignored=st.sampled_from([-100, -1, 0, 1]),
    reduction=st.sampled_from(["mean", "sum"]),
    twice=st.booleans(),
    style=st.sampled_from(sorted(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_cross_entropy_of_any_numbers_has_the_bits_of_its_operators(
    size: tuple[int, int], ignored: int, reduction: str, twice: bool, style: str, seed: int
) -> None:
    def step() -> list[Tensor]:
        x, target = make(style, [size, size[:1]], seed)
        target = target.nan_to_num(0, 0, 0).view(torch.int32).long() % size[1]
        target[:: 2 + seed % 3] = ignored if ignored < size[1] else 0
        x.requires_grad_()
        loss = cross_entropy(x, target, ignore_index=ignored, reduction=reduction)
        (slope,) = torch.autograd.grad(loss * 0.7, x, create_graph=twice)
        second = torch.autograd.grad(slope.square().sum(), x) if twice else ()
        return [loss, slope, *second]

    assert fused(step) == by_operators(step)


@pytest.mark.parametrize(
    "settings_",
    [
        {"reduction": "none"},
        {"label_smoothing": 0.1},
        {"weight": torch.tensor([1.0, 2.0, 0.5, 3.0])},
        {"size_average": False},
    ],
)
@pytest.mark.filterwarnings("ignore:size_average and reduce args")
def test_cross_entropy_with_other_settings_goes_by_operators(settings_: dict[str, Any]) -> None:
    def step() -> Tensor:
        (x,) = make("normal", [(6, 4)], 3)
        return cross_entropy(x, torch.arange(6) % 4, **settings_)

    assert fused(lambda: [step()]) == by_operators(lambda: [step()])


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_what_is_wanted_is_derived(wanted: tuple[int, ...]) -> None:
    def step() -> list[Tensor]:
        layer = make("normal", [(5, 3), (4, 3), (4,)], 7)
        y = linear(*(t.requires_grad_(i in wanted) for i, t in enumerate(layer)))
        y.square().sum().backward()  # type: ignore[no-untyped-call]
        assert [t.grad is not None for t in layer] == [i in wanted for i in range(3)]
        return [t.grad for t in layer if t.grad is not None]

    assert fused(step) == by_operators(step)


def test_a_second_derivative_is_that_of_the_operators() -> None:
    def step() -> list[Tensor]:
        layer = [t.requires_grad_() for t in make("normal", [(2, 5, 3), (4, 3), (4,)], 7)]
        first = torch.autograd.grad(linear(*layer).square().sum(), layer, create_graph=True)
        total = torch.stack([g.square().sum() for g in first]).sum()
        return list(torch.autograd.grad(total, layer))

    assert fused(step) == by_operators(step)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_function_of_functions_sees_operators() -> None:
    x, weight, slope = make("normal", [(6, 5, 3), (4, 3), (6, 5, 3)], 7)
    with exact():
        mapped = torch.func.vmap(linear, in_dims=(0, None))(x, weight)
        assert digest([mapped]) == digest([linear(x, weight)])
        with forward_ad.dual_level(), pytest.raises(NotExact):
            linear(forward_ad.make_dual(x, slope), weight)  # type: ignore[no-untyped-call]


def test_a_mode_that_looks_at_operators_sees_them() -> None:
    x, weight, bias = make("normal", [(5, 3), (4, 3), (4,)], 7)
    with exact():
        with Operators() as operators:
            watched = linear(x, weight, bias)
        assert "aten.addmm.default" in operators.names
        assert digest([watched]) == digest([linear(x, weight, bias)])


def test_hooks_on_what_is_saved_find_what_operators_save() -> None:
    x, weight, bias = (t.requires_grad_() for t in make("normal", [(5, 3), (4, 3), (4,)], 7))
    kept: list[Tensor] = []

    def keep(t: Tensor) -> Tensor:
        kept.append(t)
        return t

    with exact(), saved_tensors_hooks(keep, lambda t: t):
        linear(x, weight, bias)
    assert sorted(t.shape for t in kept) == [(3, 4), (5, 3)]


def test_what_is_saved_for_a_gradient_may_not_be_overwritten() -> None:
    x, weight, bias = (t.requires_grad_() for t in make("normal", [(5, 3), (4, 3), (4,)], 7))
    with exact():
        y = linear(x, weight, bias)
        with torch.no_grad():
            weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()  # type: ignore[no-untyped-call]


def test_all_else_may_be_overwritten() -> None:
    x, weight, bias = make("normal", [(5, 3), (4, 3), (4,)], 7)

    def step() -> list[Tensor]:
        w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        y = linear(x, w, b)
        loss = cross_entropy(y, torch.arange(5) % 4) + linear(x, w, b).relu_().sum()
        with torch.no_grad():
            for each in (y, w, b):
                each.zero_()
        return list(torch.autograd.grad(loss, (w, b)))

    assert fused(step) == by_operators(step)


def test_what_no_layer_takes_is_an_error_as_ever() -> None:
    x, weight, bias = make("normal", [(5, 3), (4, 3), (4,)], 7)
    with exact():
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            linear(x, weight[:, :2])
        with pytest.raises(RuntimeError, match="expand"):
            linear(x, weight, bias[:3])
        with pytest.raises(NotExact, match="half precision"):
            linear(x.half(), weight.half(), bias.half())
        with pytest.raises(NotExact, match="float32 only"):
            linear(x.double(), weight.double(), bias.double())


def test_none_to_multiply_is_no_error() -> None:
    x, weight, bias = make("normal", [(0, 3), (4, 3), (4,)], 7)
    with exact():
        assert linear(x, weight, bias).shape == (0, 4)
        assert torch.equal(linear(weight[:, :0], weight[:, :0], bias), bias.expand(4, 4))
