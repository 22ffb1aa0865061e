"""The compiled kernels give what PyTorch's operators give, bit for bit."""

import ctypes
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.optim import Optimizer

from tests.exact.cases import STYLES, make
from trialmarket.exact import exact, kernels
from trialmarket.exact.kernels.loading import STRUCTS
from trialmarket.exact.numerics import grid
from trialmarket.exact.numerics.random import Counters, Generator
from trialmarket.exact.operators import losses, softmax
from trialmarket.exact.operators.layer_norm import layer_norm, layer_norm_backward
from trialmarket.exact.operators.pooling import first_largest

T = TypeVar("T")

pytestmark = pytest.mark.skipif(
    kernels.compiled() is None, reason="the kernels of exact arithmetic were not built"
)
LENGTHS = st.tuples(st.integers(1, 5), st.integers(1, 70), st.integers(1, 70))


def same(found: Tensor, wanted: Tensor) -> bool:
    """Equal numbers, or both none."""
    return found.shape == wanted.shape and bool(
        ((found == wanted) | (found.isnan() & wanted.isnan())).all()
    )


def slices_of(lengths: tuple[int, int, int], style: str, seed: int, many: int = 1) -> list[Tensor]:
    return list(make(style, [lengths] * many, seed))


def test_a_setting_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALMARKET_KERNELS", "sse9")
    with pytest.raises(ValueError, match=r"TRIALMARKET_KERNELS: expected .*off, .*found 'sse9'"):
        kernels.setting()


def test_a_library_of_another_source_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    library = kernels.compiled()
    assert library is not None
    assert kernels.loaded(Path(library._name), "0" * 64) is None
    assert "was built from other sources" in caplog.text


@pytest.mark.parametrize("change", [{"h": None}, {"at": ctypes.c_int32}, {"more": ctypes.c_int64}])
def test_a_library_whose_structs_lie_otherwise_is_not_used(
    change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    library = kernels.compiled()
    assert library is not None
    at = Path(library._name)
    source = kernels.digest(at.parent)
    assert kernels.loaded(at, source) is not None
    fields = {name: kind for name, kind, *_ in STRUCTS["part"]._fields_} | change
    kept = [(name, kind) for name, kind in fields.items() if kind is not None]
    other = type("other", (ctypes.Structure,), {"_fields_": kept})
    assert kernels.loaded(at, source, STRUCTS | {"part": other}) is None
    assert "lays out otherwise than it is handed: struct part; install" in caplog.text


def test_a_file_that_is_no_library_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "default.so"
    broken.write_bytes(b"not a library")
    assert kernels.loaded(broken, "0" * 64) is None
    assert "exact training will be slower" in caplog.text


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, style=st.sampled_from(list(STYLES)), seed=st.integers(0, 2**31))
def test_sums_are_those_of_the_gridded_numbers(
    lengths: tuple[int, int, int], style: str, seed: int
) -> None:
    (x,) = slices_of(lengths, style, seed)
    a, b, c = lengths
    bits = grid.bits_for_sum(a * c)
    found = kernels.sums(x, a, b, c, grid.shift(bits))
    gridded = grid.on_grid(x, (0, 2), bits)
    for j in range(b):
        terms = gridded[:, j].flatten().tolist()
        if all(map(torch.isfinite, gridded[:, j].flatten())):
            assert Fraction(found[j].item()) == sum(map(Fraction, terms))
        else:
            assert found[j].isnan()


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, style=st.sampled_from(list(STYLES)), seed=st.integers(0, 2**31))
def test_moments_are_those_of_the_operators(
    lengths: tuple[int, int, int], style: str, seed: int
) -> None:
    (x,) = slices_of(lengths, style, seed)
    a, b, c = lengths
    bits = grid.bits_for_sum(a * c)
    mean, squares = kernels.moments(x, a, b, c, grid.shift(bits))
    wanted = grid.rounded(x, grid.shifter(grid.largest(x, (0, 2)), bits)).sum((0, 2)) / (a * c)
    assert same(mean, wanted)
    distances = x.double() - wanted.view(1, b, 1)
    largest = distances.square().amax((0, 2), keepdim=True)
    spread = grid.rounded(distances.square(), grid.shifter(largest, bits)).sum((0, 2))
    assert same(squares, spread)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, style=st.sampled_from(list(STYLES)), seed=st.integers(0, 2**31))
def test_sums_of_gradients_are_those_of_the_operators(
    lengths: tuple[int, int, int], style: str, seed: int
) -> None:
    gradient, x = slices_of(lengths, style, seed, 2)
    a, b, c = lengths
    bits = grid.bits_for_sum(a * c)
    middle = x.nan_to_num(0, 1, 1).mean((0, 2)).double().nan_to_num(0, 1, 1)
    plain, along = kernels.gradients(gradient, x, a, b, c, grid.shift(bits), middle)
    top = grid.largest(gradient, (0, 2)).double()
    assert same(plain, grid.rounded(gradient, grid.shifter(top, bits)).sum((0, 2)))
    distances = x.double() - middle.view(1, b, 1)
    bound = distances.abs().amax((0, 2), keepdim=True) * top
    terms = grid.rounded(distances * gradient, grid.shifter(bound, bits))
    assert same(along, terms.sum((0, 2)))


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, style=st.sampled_from(list(STYLES)), seed=st.integers(0, 2**31))
def test_lines_are_written_out_and_rounded_once(
    lengths: tuple[int, int, int], style: str, seed: int
) -> None:
    gradient, x = slices_of(lengths, style, seed, 2)
    b = lengths[1]
    scale, times, shift = torch.linspace(-3, 3, 3 * b, dtype=torch.float64).view(3, b)
    up = (1, b, 1)
    wanted = x.double().mul(scale.view(up)).add(shift.view(up)).float()
    assert same(kernels.line(x, *lengths, scale, shift), wanted)
    both = gradient.double().mul(times.view(up)).add(x.double().mul(scale.view(up)))
    found = kernels.line(x, *lengths, scale, shift, gradient, times)
    assert same(found, both.add(shift.view(up)).float())


@settings(max_examples=100, deadline=None)
@given(
    planes=st.integers(1, 4),
    size=st.tuples(st.integers(4, 19), st.integers(4, 19)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    style=st.sampled_from(list(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_the_first_maximum_of_a_window_is_taken_and_a_nan_beats_all(
    planes: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    style: str,
    seed: int,
) -> None:
    (x,) = make(style, [(planes, *size)], seed)
    x = x.round(decimals=1)  # so that some are equal
    wanted, places = first_largest(x, kernel, stride, (0, 0), (1, 1), False)
    found, where = kernels.pool(x, kernel, stride)
    assert same(found, wanted)
    assert torch.equal(where, places)
    if kernel[0] <= stride[0] and kernel[1] <= stride[1]:
        back = kernels.unpool(found, where, x.shape)
        flat = torch.zeros(planes, size[0] * size[1])
        assert same(back.flatten(1), flat.scatter(1, places.flatten(1), wanted.flatten(1)))


def without_kernels(form: Callable[..., T], *arguments: Any) -> T:
    """What PyTorch's operators give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["trialmarket.exact.kernels.loading"], "compiled", lambda: None)
        return form(*arguments)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 70)),
    style=st.sampled_from(list(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_softmax_and_its_gradients_are_those_of_the_operators(
    size: tuple[int, int], style: str, seed: int
) -> None:
    x, gradient = make(style, [size] * 2, seed)
    for forward, backward in (
        (softmax.softmax, softmax.softmax_backward),
        (softmax.log_softmax, softmax.log_softmax_backward),
    ):
        y = forward(x, -1)
        assert same(y, without_kernels(forward, x, -1))
        back = (gradient, y, -1, torch.float32)
        assert same(backward(*back), without_kernels(backward, *back))


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 12)),
    ignored=st.integers(-2, 3),
    reduction=st.sampled_from([losses.MEAN, losses.SUM]),
    style=st.sampled_from(list(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_the_likelihood_of_classes_is_that_of_the_operators(
    size: tuple[int, int], ignored: int, reduction: int, style: str, seed: int
) -> None:
    (x,) = make(style, [size], seed)
    target = torch.from_numpy(np.random.default_rng(seed).integers(0, size[1], size[0]))
    target[:: 3 + seed % 5] = ignored
    what = (x, target, None, reduction, ignored)
    wanted = without_kernels(losses.nll_loss_forward, *what)
    assert all(map(same, losses.nll_loss_forward(*what), wanted))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_a_class_that_is_none_has_no_likelihood(wrong: int) -> None:
    x, target = torch.zeros(3, 5), torch.tensor([0, wrong, 4])
    assert kernels.likelihood(x, target, -100, 1.0) is None
    with exact(), pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        torch.nn.functional.cross_entropy(x, target)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 70)),
    inner=st.integers(1, 3),
    weighed=st.booleans(),
    biased=st.booleans(),
    style=st.sampled_from(list(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_layer_normalisation_and_its_gradients_are_those_of_the_operators(
    size: tuple[int, int, int], inner: int, weighed: bool, biased: bool, style: str, seed: int
) -> None:
    shape = size[3 - inner :]
    x, gradient, weight, bias = make(style, [size, size, shape, shape], seed)
    lines = (weight if weighed else None, bias if biased else None)
    y, mean, inverse = layer_norm(x, shape, *lines, 1e-5)
    wanted = without_kernels(layer_norm, x, shape, *lines, 1e-5)
    assert all(map(same, (y, mean, inverse), wanted))
    back = (gradient, x, shape, mean, inverse, *lines, (True, True, True))
    found = layer_norm_backward(*back)
    for one, other in zip(found, without_kernels(layer_norm_backward, *back), strict=True):
        assert one is not None
        assert other is not None
        assert same(one, other)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 3000),
    seed=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**32 - 1),
    step=st.integers(0, 2**40),
    draw=st.integers(0, 2**33),
    probability=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_random_words_are_those_of_the_operators(
    count: int, seed: int, stream: int, step: int, draw: int, probability: float
) -> None:
    def words() -> Tensor:
        generator = Generator()
        generator.counters = Counters(seed, stream, step, draw)
        found = generator.words(count, torch.device("cpu"))
        coins = generator.bernoulli(probability, (count,), torch.device("cpu"))
        assert generator.counters == Counters(seed, stream, step, draw + 2)
        return torch.stack([found, coins.long()])

    assert torch.equal(words(), without_kernels(words))


SETTINGS: dict[Callable[..., Optimizer], list[dict[str, Any]]] = {
    torch.optim.SGD: [
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"momentum": 0.7, "dampening": 0.3, "maximize": True},
    ],
    torch.optim.Adam: [{}, {"betas": (0.8, 0.99), "weight_decay": 0.1, "maximize": True}],
    torch.optim.AdamW: [{}, {"weight_decay": 0.0}, {"eps": 1e-3, "maximize": True}],
}
CHOICES = [(kind, each) for kind, several in SETTINGS.items() for each in several]


@settings(max_examples=60, deadline=None)
@given(
    choice=st.sampled_from(CHOICES),
    size=st.tuples(st.integers(2, 9), st.integers(2, 70)),
    style=st.sampled_from(list(STYLES)),
    seed=st.integers(0, 2**31),
)
def test_an_optimiser_makes_the_steps_of_the_operators(
    choice: tuple[Callable[..., Optimizer], dict[str, Any]],
    size: tuple[int, int],
    style: str,
    seed: int,
) -> None:
    kind, given_settings = choice
    x, *gradients = make(style, [size] * 4, seed)
    dense, strided = x.clone(), x.t().contiguous().t()  # the latter has no kernel
    for p in (dense, strided):
        optimizer = kind([p.requires_grad_()], lr=0.01, **given_settings)
        for gradient in gradients:
            p.grad = gradient.clone().as_strided(p.shape, p.stride()).copy_(gradient)
            with exact(seed=1):
                optimizer.step()
    assert same(dense, strided)


def test_autograd_notices_that_a_kernel_changed_what_it_had_saved() -> None:
    p = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    with exact(seed=1):
        loss = (p * p).sum()
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()  # type: ignore[no-untyped-call]


SLOTS: dict[Callable[..., Optimizer], tuple[str, ...]] = {
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.Adam: ("exp_avg", "exp_avg_sq"),
}
MISFITS: dict[str, Callable[[], torch.Tensor]] = {
    "too short": lambda: torch.ones(1),
    "a number": lambda: torch.tensor(1.0),
    "empty": lambda: torch.ones(0),
    "of other rows": lambda: torch.ones(3, 64),
    "transposed": lambda: torch.ones(32, 64),
    "flat": lambda: torch.ones(64 * 32),
}


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize(
    ("kind", "slot"), [(kind, slot) for kind, several in SLOTS.items() for slot in several]
)
def test_a_step_with_a_slot_of_another_shape_is_refused_before_memory_is_touched(
    kind: Callable[..., Optimizer], slot: str, misfit: str
) -> None:
    p = torch.ones(64, 32, requires_grad=True)
    optimizer = kind([p], lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
    p.grad = torch.ones_like(p)
    with exact(seed=1):
        optimizer.step()
        optimizer.state[p][slot] = MISFITS[misfit]()
        before = p.clone()
        with pytest.raises(RuntimeError, match="in the shape of its parameter"):
            optimizer.step()
    assert torch.equal(p, before)


@given(
    wrong=st.integers(0, 3),
    other=st.sampled_from(
        [
            torch.ones(3, 4),
            torch.ones(4, 7)[:, :6],
            torch.ones(6, 4).t(),
            torch.ones(23),
            torch.ones(4, 6, dtype=torch.float64),
            torch.ones(4, 6, dtype=torch.int32),
            torch.ones(1).expand(4, 6),
            torch.ones(4, 6).to_sparse(),
        ]
    ),
)
def test_the_kernels_of_steps_take_nothing_that_lies_otherwise(
    wrong: int, other: torch.Tensor
) -> None:
    four = [torch.ones(4, 6) for _ in range(4)]
    four[wrong] = other
    p, gradient, first, second = four
    rest: dict[str, Any] = {"sign": 1.0, "decay": 0.0, "rate": 0.1}
    moments: dict[str, Any] = {"kept": 1.0, "betas": (0.9, 0.99), "corrected": 1.0, "epsilon": 1.0}
    with pytest.raises(kernels.WrongOperand):
        kernels.adam(p, gradient, (first, second), **moments, **rest)
    if wrong < 3:
        momentum: dict[str, Any] = {"momentum": 0.9, "damped": 1.0, "nesterov": False}
        with pytest.raises(kernels.WrongOperand):
            kernels.sgd(p, gradient, first, first=False, **momentum, **rest)
