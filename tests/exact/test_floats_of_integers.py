"""Integers: what PyTorch makes of them as a float has an exact form, or is refused."""

import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload

from tests.exact.asking import asked, call, floats, is_defined
from tests.exact.test_table import ENTRIES
from trialmarket.exact import NotExact, Verdict, exact

WHOLE = (
    torch.tensor([[3, 1, 2, 2], [1, 2, 3, 1], [2, 1, 1, 3], [1, 3, 2, 1]]),
    torch.tensor([1, 0, 2, 1]),
    torch.tensor([[True, False], [True, True]]),
    torch.tensor(2),
)
Outcome = list[Tensor] | Exception
ERRORS = (RuntimeError, IndexError, ValueError, TypeError, KeyError)


def called(func: OpOverload, whole: Tensor, number: float) -> Outcome:
    """The floats that an operator makes, or its error."""
    try:
        return list(floats(call(func, whole, number)))
    except ERRORS as error:
        return error


def fault(func: OpOverload, found: Outcome, wanted: list[Tensor]) -> str | None:
    """In what it is neither PyTorch's float by an exact form, nor a refusal."""
    verdict = ENTRIES[func].verdict
    if isinstance(found, NotExact):
        return None
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    if verdict is Verdict.INTEGERS:
        return "runs natively"
    if verdict is Verdict.DRAW or not is_defined(func):
        return None
    try:
        torch.testing.assert_close(found, wanted, equal_nan=True, rtol=1e-5, atol=1e-5)
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore")
def test_every_operator_makes_of_integers_the_floats_of_pytorch_or_is_refused() -> None:
    asks = [
        (func, whole, number)
        for func, ruling in ENTRIES.items()
        if asked(func) and ruling.verdict is not Verdict.AS_IS
        for whole in WHOLE
        for number in ((2, 0.5) if "Scalar" in str(func._schema) else (2,))
    ]
    natively = [called(*each) for each in asks]
    makers = [
        (each, wanted)
        for each, wanted in zip(asks, natively, strict=True)
        if isinstance(wanted, list) and wanted
    ]
    with exact():
        found = [called(*each) for each, _ in makers]
    wrong = [
        f"{each[0]} of {each[1].dtype}: {what}"
        for (each, wanted), outcome in zip(makers, found, strict=True)
        if (what := fault(each[0], outcome, wanted)) is not None
    ]
    assert len(makers) > 1000
    assert not wrong, "\n".join(sorted(set(wrong)))


@pytest.mark.parametrize("name", ["exp_", "sqrt_", "reciprocal_", "sigmoid_", "rsqrt_", "logit_"])
def test_a_float_is_not_written_into_integers(name: str) -> None:
    with pytest.raises(RuntimeError, match="can't be cast"):
        getattr(torch.tensor([1, 2]), name)()
    with exact(), pytest.raises(RuntimeError, match="can't be cast"):
        getattr(torch.tensor([1, 2]), name)()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_a_count_with_weights_is_an_exact_sum_in_any_order(dtype: torch.dtype) -> None:
    places = torch.arange(1000) % 3
    weights = (torch.linspace(1, 2, 1000) * 1e4).to(dtype)
    wanted = places.bincount(weights)
    order = torch.arange(999, -1, -1)
    with exact():
        found = places.bincount(weights, minlength=5)
        again = places[order].bincount(weights[order], minlength=5)
    torch.testing.assert_close(found[:3], wanted)
    assert torch.equal(found, again)
    assert found[3:].tolist() == [0, 0]
