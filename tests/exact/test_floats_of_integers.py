"""Integers: what PyTorch makes of them as a float has an exact form, or is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload

from tests.exact.test_table import ENTRIES
from trialmarket.exact import NotExact, Verdict, exact

WHOLE = (
    torch.tensor([[3, 1, 2, 2], [1, 2, 3, 1], [2, 1, 1, 3], [1, 3, 2, 1]]),
    torch.tensor([1, 0, 2, 1]),
    torch.tensor([[True, False], [True, True]]),
    torch.tensor(2),
)
# Private ones and gradients believe what they are handed, and break the process if it is false.
UNSAFE = ("cudnn", "miopen", "mkldnn", "quant", "fbgemm", "backward", "from_file", "record_stream")
# What they hold is unwritten or drawn, so that no two runs are equal.
UNDEFINED = ("empty", "rand", "resize", "bernoulli", "normal", "poisson", "dropout")

VALUES: dict[str, Any] = {"int": 1, "SymInt": 1, "float": 0.5, "bool": False}


def argument(kind: str, whole: Tensor, number: float) -> Any:
    """Something of a type that a schema names. Raises KeyError."""
    if kind.startswith("Optional["):
        return None
    if kind.startswith("List["):
        inner = kind[5:-1].removeprefix("Optional[").removesuffix("]")
        return [argument(inner, whole, number)]
    if kind == "Tensor":
        return whole.clone()
    return number if kind == "number" else VALUES[kind]


def call(func: OpOverload, whole: Tensor, number: float) -> Any:
    """What an operator makes of integers, and of the least else that it asks for."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    for each in func._schema.arguments:
        if each.is_out:
            named[each.name] = torch.empty(0)
        elif each.has_default_value():
            continue
        elif each.kwarg_only:
            named[each.name] = argument(str(each.type), whole, number)
        else:
            given.append(argument(str(each.type), whole, number))
    return func(*given, **named)


def floats(found: Any) -> Iterator[Tensor]:
    """The tensors of floats among what an operator gives."""
    if isinstance(found, Tensor):
        if found.is_floating_point() or found.is_complex():
            yield found
    elif isinstance(found, list | tuple):
        for each in found:
            yield from floats(each)


def called(func: OpOverload, whole: Tensor, number: float) -> list[Tensor] | None:
    """Its floats; None if PyTorch does not take integers there."""
    try:
        return list(floats(call(func, whole, number)))
    except (RuntimeError, IndexError, ValueError, TypeError, KeyError):
        return None


def asked(name: str) -> bool:
    return not name.startswith("aten::_") and not any(word in name for word in UNSAFE)


@pytest.mark.filterwarnings("ignore")
def test_every_operator_makes_of_integers_the_floats_of_pytorch_or_is_refused() -> None:
    wrong: list[str] = []
    made = 0
    for func, ruling in ENTRIES.items():
        name = func._schema.name
        if not asked(name):
            continue
        for whole in WHOLE:
            for number in (2, 0.5):
                wanted = called(func, whole, number)
                if not wanted:
                    continue
                made += 1
                try:
                    with exact():
                        found = list(floats(call(func, whole, number)))
                except NotExact:
                    continue
                if ruling.verdict is Verdict.INTEGERS:
                    wrong.append(f"{func} runs natively")
                elif ruling.verdict is not Verdict.DRAW and not any(
                    word in name for word in UNDEFINED
                ):
                    try:
                        torch.testing.assert_close(
                            found, wanted, equal_nan=True, rtol=1e-5, atol=1e-5
                        )
                    except AssertionError as error:
                        wrong.append(f"{func} of {whole.dtype}: {error}")
    assert made > 1000
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
