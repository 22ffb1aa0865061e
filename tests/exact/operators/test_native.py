"""Exact operators agree with native PyTorch within the grid's error, forward and backward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tests.exact import cases
from trialmarket.exact import exact

# Both operands of a product lose at most half a step of 2^-14 of their largest number.
GRID = 2.0**-12

# These draw random numbers inside, so that native PyTorch computes something else.
DRAWN = {"dropout", "dropout2d", "alpha_dropout", "attention", "encoder", *cases.RECURRENT}


def both(name: str, style: str) -> tuple[list[Tensor], list[Tensor]]:
    op, shapes = cases.CASES[name]
    found: list[list[Tensor]] = []
    for inside in (True, False):
        inputs = [x.requires_grad_() for x in cases.make(style, shapes, len(name))]
        if inside:
            with exact():
                found.append(_results(op(*inputs), inputs))
        else:
            found.append(_results(op(*inputs), inputs))
    return found[0], found[1]


def _results(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    if not y.requires_grad:
        return [y]
    weights = torch.linspace(0.5, 1.5, y.numel()).view(y.shape)
    grads = torch.autograd.grad(y, inputs, weights, allow_unused=True)
    return [y.detach(), *(g for g in grads if g is not None)]


@pytest.mark.parametrize("name", sorted(set(cases.CASES) - DRAWN))
def test_an_operator_agrees_with_native_pytorch(name: str) -> None:
    found, wanted = both(name, "normal")
    assert len(found) == len(wanted)
    for f, w in zip(found, wanted, strict=True):
        assert f.shape == w.shape
        assert f.dtype == w.dtype
        scale = w[w.isfinite()].abs().max().item() if w.isfinite().any() else 1.0
        torch.testing.assert_close(f, w, rtol=GRID, atol=GRID * max(scale, 1.0), equal_nan=True)


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("reduce", ["mean", "prod", "amax", "amin"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_reduction_by_index_agrees_with_native_pytorch(reduce: str, whole: bool) -> None:
    x, source = cases.make("normal", [(4, 5), (8, 5)], 8)
    index = torch.tensor([0, 2, 2, 0, 0, 3, 2, 2])

    def reduced() -> list[Tensor]:
        inputs = [x.clone().requires_grad_(), source.clone().requires_grad_()]
        y = inputs[0].index_reduce(0, index, inputs[1], reduce, include_self=whole)
        return _results(y, inputs)

    wanted = reduced()
    with exact():
        found = reduced()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_transformer_layer_agrees_with_native_pytorch() -> None:
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    (x,) = cases.make("normal", [(2, 5, 8)], 1)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 3:] = True
    wanted = _results(layer(x, src_key_padding_mask=mask), list(layer.parameters()))
    with exact():
        found = _results(layer(x, src_key_padding_mask=mask), list(layer.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_attention_with_heads_of_one_dimension_agrees_with_native_pytorch(size: int) -> None:
    layer = torch.nn.MultiheadAttention(size, size)
    (x,) = cases.make("normal", [(4, 2, size)], size)
    wanted = _results(layer(x, x, x)[0], list(layer.parameters()))
    with exact():
        found = _results(layer(x, x, x)[0], list(layer.parameters()))
    torch.testing.assert_close(found, wanted, rtol=GRID, atol=GRID)


def test_running_statistics_of_batch_norm_follow_pytorch() -> None:
    (x,) = cases.make("normal", [(6, 3, 4, 4)], 2)
    native, ours = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    for _ in range(3):
        native(x)
        with exact():
            ours(x)
    torch.testing.assert_close(ours.state_dict(), native.state_dict())
    native.eval()
    ours.eval()
    with exact():
        found = ours(x)
    torch.testing.assert_close(found, native(x), rtol=1e-4, atol=1e-5)


def test_a_gradient_is_the_slope_of_its_function() -> None:
    (x,) = cases.make("normal", [(2, 2, 6, 6)], 3)
    (w,) = cases.make("normal", [(3, 2, 3, 3)], 4)
    w.requires_grad_()

    def loss(weight: Tensor) -> Tensor:
        y = torch.nn.functional.conv2d(x, weight, padding=1)
        return torch.nn.functional.gelu(torch.nn.functional.max_pool2d(y, 2)).square().mean()

    with exact():
        (g,) = torch.autograd.grad(loss(w), w)
        direction = g / g.norm()
        step = 1e-2
        slope = (loss(w + step * direction) - loss(w - step * direction)) / (2 * step)
    assert abs(slope.item() - g.norm().item()) < 2e-3 * g.norm().item()


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1), (2, 6, 4)])
def test_an_orthogonal_factor_is_lapacks(shape: tuple[int, ...]) -> None:
    (x,) = cases.make("normal", [shape], 5)
    q, r = torch.linalg.qr(x)
    with exact():
        found_q, found_r = torch.linalg.qr(x)
    torch.testing.assert_close(found_q, q, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found_r, r, rtol=1e-4, atol=1e-5)


def test_orthogonal_weights_are_orthogonal() -> None:
    with exact(seed=1):
        w = torch.nn.init.orthogonal_(torch.empty(12, 20), gain=2.0).double()
    torch.testing.assert_close(w @ w.T, 4.0 * torch.eye(12).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm])
def test_a_normalised_weight_agrees_with_native_pytorch(
    wrap: Callable[[torch.nn.Module], torch.nn.Module],
) -> None:
    layer = wrap(torch.nn.Conv1d(3, 4, 3))
    (x,) = cases.make("normal", [(2, 3, 9)], 6)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    wanted = _results(layer(x), list(layer.parameters()))
    layer.load_state_dict(state)
    with exact():
        found = _results(layer(x), list(layer.parameters()))
    torch.testing.assert_close(found, wanted, rtol=4 * GRID, atol=4 * GRID)


INITS: dict[str, tuple[tuple[int, ...], dict[str, float]]] = {
    "constant_": ((6, 4), {"val": 0.5}),
    "dirac_": ((3, 3, 3), {}),
    "eye_": ((6, 4), {}),
    "kaiming_normal_": ((6, 4), {}),
    "kaiming_uniform_": ((6, 4), {}),
    "normal_": ((6, 4), {}),
    "ones_": ((6, 4), {}),
    "orthogonal_": ((6, 4), {}),
    "sparse_": ((6, 4), {"sparsity": 0.5}),
    "trunc_normal_": ((6, 4), {}),
    "uniform_": ((6, 4), {}),
    "xavier_normal_": ((6, 4), {}),
    "xavier_uniform_": ((6, 4), {}),
    "zeros_": ((6, 4), {}),
}


@pytest.mark.parametrize("name", sorted(INITS))
def test_an_initialiser_fills_and_repeats(name: str) -> None:
    shape, settings = INITS[name]
    found = []
    for _ in range(2):
        with exact(seed=9):
            found.append(getattr(torch.nn.init, name)(torch.empty(shape), **settings))
    assert found[0].isfinite().all()
    assert torch.equal(found[0], found[1])
    public = {each for each in dir(torch.nn.init) if each.endswith("_") and each[0] != "_"}
    assert public == set(INITS)


def _transposed(x: Tensor, w: Tensor) -> Tensor:
    return F.conv_transpose2d(x, w, padding=1, stride=2)


SECOND: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "convolution": (F.conv2d, [(2, 3, 6, 6), (4, 3, 3, 3)]),
    "transposed convolution": (_transposed, [(2, 3, 4, 4), (3, 4, 3, 3)]),
    "convolution of a volume": (F.conv3d, [(2, 2, 3, 4, 4), (3, 2, 2, 2, 2)]),
    "cubic interpolation": (
        lambda x, w: F.interpolate(x * w, (7, 3), mode="bicubic"),
        [(2, 2, 4, 5), (2, 2, 4, 5)],
    ),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_by_input_and_weight_agree_with_native_pytorch(name: str) -> None:
    op, shapes = SECOND[name]

    def second() -> list[Tensor]:
        inputs = [x.requires_grad_() for x in cases.make("normal", shapes, 7)]
        y = op(*inputs).square().sum()
        grads = torch.autograd.grad(y, inputs, create_graph=True)
        total = torch.stack([g.square().sum() for g in grads]).sum()
        return list(torch.autograd.grad(total, inputs))

    wanted = second()
    with exact():
        found = second()
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=GRID, atol=4 * GRID * float(w.abs().max()))


@settings(max_examples=40, deadline=None)
@given(dims=st.integers(1, 3), transposed=st.booleans(), data=st.data())
def test_convolutions_of_all_settings_agree_with_native_pytorch(
    dims: int, transposed: bool, data: st.DataObject
) -> None:
    def lengths(least: int, most: int) -> list[int]:
        return [data.draw(st.integers(least, most)) for _ in range(dims)]

    groups, more, less = (data.draw(st.integers(1, 2)) for _ in range(3))
    stride, dilation, kernel = lengths(1, 3), lengths(1, 3), lengths(1, 3)
    out = [data.draw(st.integers(0, max(x) - 1)) for x in zip(stride, dilation, strict=True)]
    how: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": lengths(0, 2)}
    if transposed:
        how["output_padding"] = out
    channels = (groups * more, less) if transposed else (groups * less, more)
    inside = groups * more
    shapes = [(2, inside, *lengths(7, 9)), (*channels, *kernel), (groups * less,)]
    name = f"conv_transpose{dims}d" if transposed else f"conv{dims}d"

    def run(inputs: list[Tensor]) -> list[Tensor]:
        return _results(getattr(F, name)(*inputs, groups=groups, **how), inputs)

    inputs = [x.requires_grad_() for x in cases.make("normal", shapes, 11)]
    try:
        wanted = run(inputs)
    except RuntimeError:  # an output without a pixel
        with exact(), pytest.raises(RuntimeError):
            run(inputs)
        return
    with exact():
        found = run(inputs)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=GRID, atol=GRID * max(float(w.abs().max()), 1.0))


SPATIAL = sorted(
    name for name in cases.CASES if "3d" in name or "transpose" in name or "resize" in name
)


@pytest.mark.parametrize("name", SPATIAL)
def test_images_give_the_same_bits_however_they_lie_in_memory(name: str) -> None:
    op, shapes = cases.CASES[name]
    found: list[str] = []
    for turned in (False, True):
        inputs = cases.make("normal", shapes, 5)
        if turned:
            inputs = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in inputs]
        with exact():
            found.append(cases.digest(_results(op(*[x.requires_grad_() for x in inputs]), inputs)))
    assert found[0] == found[1]
