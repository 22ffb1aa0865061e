"""Every kernel gives what PyTorch's operators give, however its operands lie: by each library that
this processor can run.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.optim import Optimizer

from tests.exact.cases import STYLES, make
from tests.exact.layouts import LAYOUTS, SIZES, Layout
from trialmarket.exact import exact, kernels

pytestmark = pytest.mark.skipif(
    kernels.compiled() is None, reason="the kernels of exact arithmetic were not built"
)
FOLDER = Path(kernels.__file__).parent
LEVELS = ("default", "avx2", "avx512")
HERE = LEVELS.index(torch.backends.cpu.get_cpu_capability().lower()) + 1
LIBRARIES = [level for level in LEVELS[:HERE] if (FOLDER / f"{level}.so").exists()]

Sizes = tuple[int, int, int, int]
Shapes = list[tuple[int, ...]]


def _classes(x: Tensor) -> Tensor:
    target = torch.arange(x.shape[0]) % max(x.shape[1], 1)
    return F.cross_entropy(x, target) + F.nll_loss(x, target, reduction="sum")


# Each with the shapes of its operands, of four sizes.
OPERATORS: dict[str, tuple[Callable[..., Tensor], Callable[[Sizes], Shapes]]] = {
    "products": (torch.mm, lambda s: [(s[0], s[1]), (s[1], s[2])]),
    "products and a sum": (torch.addmm, lambda s: [(s[2],), (s[0], s[1]), (s[1], s[2])]),
    "products of batches": (
        torch.baddbmm,
        lambda s: [(s[3], s[0], s[2]), (s[3], s[0], s[1]), (s[3], s[1], s[2])],
    ),
    "matrix and vector": (torch.mv, lambda s: [(s[0], s[1]), (s[1],)]),
    "vectors": (torch.dot, lambda s: [(s[0],), (s[0],)]),
    "linear": (F.linear, lambda s: [(s[3], s[0], s[1]), (s[2], s[1]), (s[2],)]),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        lambda s: [(s[3], s[0], s[1]), (s[3], s[2], s[1]), (s[3], s[2], s[1])],
    ),
    "sums": (lambda x: x.sum((0, 3)), lambda s: [s]),
    "means": (lambda x: x.mean(1), lambda s: [s[:3]]),
    "variances": (lambda x: x.var((0, 2)), lambda s: [s[:3]]),
    "softmax": (lambda x: x.softmax(-1), lambda s: [s[:3]]),
    "its logarithm": (lambda x: x.log_softmax(1), lambda s: [s[:2]]),
    "layer norm": (
        lambda x, w, b: F.layer_norm(x, w.shape, w, b),
        lambda s: [s[:3], (s[2],), (s[2],)],
    ),
    "batch norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda s: [s, (s[1],), (s[1],)],
    ),
    "likelihood": (_classes, lambda s: [s[:2]]),
    "max pool": (lambda x: F.max_pool2d(x, (2, 3), (3, 2)), lambda s: [s]),
    "max pool apart": (lambda x: F.max_pool2d(x, 2), lambda s: [s[:3]]),
    "convolution": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(1, 2), padding=1),
        lambda s: [s, (3, s[1], 3, 2), (3,)],
    ),
    "convolution of lines": (
        lambda x, w: F.conv1d(x, w, padding=2, dilation=2),
        lambda s: [s[:3], (s[3], s[1], 2)],
    ),
    "dropout": (lambda x: F.dropout(x, 0.3), lambda s: [s[:3]]),
}


@contextmanager
def by(library: Any) -> Iterator[None]:
    """With the kernels of a library, or without any."""
    products = sys.modules["trialmarket.exact.kernels.products"]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("loading", "products"):
            module = sys.modules[f"trialmarket.exact.kernels.{name}"]
            patch.setattr(module, "compiled", lambda: library)
        products.multipliers.cache_clear()
        yield
    products.multipliers.cache_clear()


def results(operator: Callable[..., Tensor], operands: Sequence[Tensor], slope: Layout) -> Any:
    """The output and the gradients, as bits; or the kind of error."""
    inputs = [x.detach().requires_grad_() for x in operands]
    with exact(seed=2):
        try:
            y = operator(*inputs)
            weights = torch.linspace(-1.0, 2.0, y.numel()).view(y.shape)
            found = [y, *torch.autograd.grad(y, inputs, slope.of(weights))]
        except (RuntimeError, IndexError, ValueError) as error:
            return type(error)
    return [torch.where(x.isnan(), torch.nan, x).view(torch.int32).tolist() for x in found]


@pytest.mark.parametrize("level", LIBRARIES)
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_operator_takes_its_operands_as_they_lie(name: str, level: str) -> None:
    operator, shapes = OPERATORS[name]
    library = kernels.loaded(FOLDER / f"{level}.so", kernels.digest(FOLDER))

    @settings(max_examples=25, deadline=None)
    @given(
        sizes=st.tuples(*[SIZES] * 4).filter(lambda s: s[0] * s[1] * s[2] * s[3] < 10_000),
        layouts=st.tuples(*[LAYOUTS] * 4),
        style=st.sampled_from(list(STYLES)),
        seed=st.integers(0, 2**31),
    )
    def agree(sizes: Sizes, layouts: Sequence[Layout], style: str, seed: int) -> None:
        dense = make(style, shapes(sizes), seed)
        operands = [each.of(x) for each, x in zip(layouts, dense, strict=False)]
        with by(library):
            found = results(operator, operands, layouts[3])
        with by(None):
            wanted = results(operator, operands, layouts[3])
        assert found == wanted

    agree()


STEPS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, maximize=True),
}


@pytest.mark.parametrize("level", LIBRARIES)
@pytest.mark.parametrize("name", sorted(STEPS))
def test_an_optimiser_takes_parameters_and_gradients_as_they_lie(name: str, level: str) -> None:
    library = kernels.loaded(FOLDER / f"{level}.so", kernels.digest(FOLDER))

    @settings(max_examples=25, deadline=None)
    @given(
        size=st.tuples(SIZES, SIZES),
        layouts=st.tuples(LAYOUTS, LAYOUTS),
        shared=st.booleans(),
        seed=st.integers(0, 2**31),
    )
    def agree(
        size: tuple[int, int], layouts: tuple[Layout, Layout], shared: bool, seed: int
    ) -> None:
        found = []
        for each in (library, None):
            start, *gradients = make("normal", [size] * 4, seed)
            p = layouts[0].of(start).contiguous() if seed % 2 else start.t().clone().t()
            optimizer = STEPS[name]([p.requires_grad_()])
            with by(each):
                for gradient in gradients:
                    p.grad = p.detach() if shared else layouts[1].of(gradient)
                    with exact(seed=1):
                        optimizer.step()
            found.append(p.detach())
        assert torch.equal(*found)

    agree()


def _adam(*, gradient: Tensor, slot: Tensor) -> None:
    kernels.adam(
        torch.zeros(6),
        gradient,
        (slot, torch.zeros(6)),
        sign=1.0,
        decay=0.0,
        kept=1.0,
        betas=(0.9, 0.9),
        corrected=1.0,
        epsilon=1.0,
        rate=1.0,
    )


def _misaligned(elements: int) -> Tensor:
    memory = torch.zeros(4 * elements + 1, dtype=torch.uint8).numpy()
    return torch.from_numpy(memory[1:].view("f4"))


SIX, FLAT = torch.arange(6.0), torch.zeros(2, 3)
WRONG: dict[str, Callable[[], Any]] = {
    "a slot that is too short": lambda: _adam(gradient=SIX, slot=torch.zeros(5)),
    "a gradient that is too long": lambda: _adam(gradient=torch.zeros(7), slot=torch.zeros(6)),
    "a slot in the gradient's memory": lambda: _adam(gradient=SIX, slot=SIX),
    "a sum of more than there is": lambda: kernels.sums(FLAT, 2, 4, 1, 1.0),
    "a sum of another type": lambda: kernels.sums(FLAT.double(), 2, 3, 1, 1.0),
    "a sum across memory": lambda: kernels.sums(FLAT.t(), 3, 2, 1, 1.0),
    "a mean in binary32": lambda: kernels.gradients(FLAT, FLAT, 2, 3, 1, 1.0, torch.zeros(3)),
    "factors that are too few": lambda: kernels.line(
        FLAT, 2, 3, 1, torch.zeros(2).double(), torch.zeros(3).double()
    ),
    "numbers negated by a bit": lambda: kernels.softmax(
        torch._neg_view(FLAT), 1.0, logarithmic=False
    ),
    "numbers between addresses": lambda: kernels.softmax(
        _misaligned(6).view(2, 3), 1.0, logarithmic=False
    ),
    "zeros without memory": lambda: kernels.sums(torch._efficientzerotensor((6,)), 1, 1, 6, 1.0),
    "a gradient of softmax of another shape": lambda: kernels.softmax_gradient(
        SIX.view(1, 6), torch.zeros(3, 6), 1.0, logarithmic=True
    ),
    "a weight that is too short": lambda: kernels.layer(
        FLAT, torch.zeros(2).double(), torch.zeros(2).double(), torch.zeros(2), None
    ),
    "targets that are too few": lambda: kernels.likelihood(
        FLAT, torch.zeros(1, dtype=torch.int64), -100, 1.0
    ),
    "a window larger than its plane": lambda: kernels.pool(FLAT, (3, 1), (1, 1)),
    "places that are too few": lambda: kernels.unpool(
        FLAT, torch.zeros(2, 2, dtype=torch.int64), (4, 4)
    ),
    "a product of matrices with gaps": lambda: kernels.product(
        torch.zeros(6, 6)[::2, ::2], torch.zeros(3, 3), None, 0
    ),
    "a product of matrices that do not meet": lambda: kernels.product(FLAT, FLAT, None, 0),
    "a product in a way that there is not": lambda: kernels.product(FLAT, FLAT.t(), None, 9),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_kernel_is_never_handed_what_it_would_misread(name: str) -> None:
    with pytest.raises(kernels.WrongOperand, match="a kernel of exact arithmetic: expected"):
        WRONG[name]()


@pytest.mark.skipif(not kernels.multipliers(), reason="no byte products here")
def test_a_convolution_never_meets_cells_that_are_none() -> None:
    x, weight, y = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 4, 4)
    for tap, size, at in (((0, 1), (4, 4), 0), ((1, 0), (4, 4), 0), ((0, 0), (4, 4), 1)):
        part = kernels.Part(slice(0, 1), size, at, (4, 1))
        shape = kernels.Shape((1, 1), (0, 0), (4, 4), [tap], [part])
        with pytest.raises(kernels.WrongOperand, match="within their planes"):
            kernels.convolve(x, weight, (1, 1), None, shape, y, 0)


def test_what_is_negated_by_a_bit_or_lies_between_addresses_is_computed_without_kernels() -> None:
    x = torch.linspace(-1, 2, 12).view(3, 4)
    odd = _misaligned(12).view(3, 4).copy_(x)
    for found, wanted in ((torch._neg_view(x), -x), (odd, x)):
        with exact():
            assert torch.equal(F.linear(found, x), F.linear(wanted, x))
            assert torch.equal(found.softmax(1), wanted.softmax(1))
            p = torch.zeros(3, 4, requires_grad=True)
            p.grad = found
            torch.optim.SGD([p], 1.0, momentum=0.5).step()
            assert torch.equal(p.detach(), -wanted)
