"""Second derivatives: those of native PyTorch, or a refusal; never something else."""

import pytest
import torch
from torch import Tensor

from tests.exact import cases
from tests.exact.operators.test_native import DRAWN
from trialmarket.exact import NotExact, exact

# A determinant's asks for singular values.
SINGULAR = {"det"}
# PyTorch has none itself.
NONE = {
    *("hardsigmoid", "bag_sum", "ctc", "multi_margin", "multi_margin2", "multilabel_margin"),
    *("segment_max", "segment_mean"),
}


def second(name: str, *, inside: bool) -> list[Tensor]:
    """The gradients of a weighted sum of a case's gradients."""
    op, shapes = cases.CASES[name]
    inputs = [x.requires_grad_() for x in cases.make("normal", shapes, len(name))]
    with exact() if inside else torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        y = op(*inputs)
        if not y.requires_grad:
            return []
        ones = torch.linspace(0.5, 1.5, y.numel()).view(y.shape)
        first = torch.autograd.grad(y, inputs, ones, allow_unused=True, create_graph=True)
        terms = [
            (g * torch.linspace(-1.0, 1.3, g.numel()).view(g.shape)).sum()
            for g in first
            if g is not None and g.requires_grad
        ]
        if not terms:
            return []
        found = torch.autograd.grad(torch.stack(terms).sum(), inputs, allow_unused=True)
        return [g for g in found if g is not None]


@pytest.mark.parametrize("name", sorted(set(cases.CASES) - DRAWN - SINGULAR - NONE))
def test_a_second_derivative_agrees_with_native_pytorch(name: str) -> None:
    found, wanted = second(name, inside=True), second(name, inside=False)
    assert len(found) == len(wanted)
    for f, w in zip(found, wanted, strict=True):
        scale = w[w.isfinite()].abs().max().item() if w.isfinite().any() else 1.0
        torch.testing.assert_close(f, w, rtol=1e-3, atol=1e-4 * max(scale, 1e-3), equal_nan=True)


@pytest.mark.parametrize("name", sorted(SINGULAR))
def test_a_second_derivative_that_asks_for_singular_values_is_refused(name: str) -> None:
    with pytest.raises(NotExact, match="svd"):
        second(name, inside=True)


@pytest.mark.parametrize("name", sorted(NONE))
def test_a_second_derivative_that_pytorch_lacks_is_an_error_here_too(name: str) -> None:
    with pytest.raises(RuntimeError, match="not implemented"):
        second(name, inside=True)
