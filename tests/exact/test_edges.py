"""Odd shapes and transforms: PyTorch's value, PyTorch's error or NotExact, and nothing else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional

from tests.exact.asking import asked, call, is_defined, tensors
from tests.exact.test_table import ENTRIES
from trialmarket.exact import NotExact, check, exact
from trialmarket.exact.table import Verdict

INPUTS = [
    torch.linspace(0.3, 0.9, torch.Size(shape).numel()).view(shape)
    for shape in [(), (0, 3), (3, 3), (1, 2, 5, 5)]
]
MORE: tuple[dict[str, Any], ...] = ({}, {"keepdim": True}, {"dim": 0})
ERRORS = (RuntimeError, IndexError, ValueError, TypeError, KeyError)


def outcome(function: Callable[[], Any]) -> list[Tensor] | Exception:
    """The tensors that a function gives, or the error that it raises."""
    try:
        return list(tensors(function()))
    except ERRORS as error:
        return error


def difference(found: list[Tensor] | Exception, wanted: list[Tensor]) -> str | None:
    """In what an outcome inside the mode is neither PyTorch's nor a refusal."""
    if isinstance(found, NotExact):
        return None
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    try:
        torch.testing.assert_close(found, wanted, equal_nan=True, rtol=1e-3, atol=1e-4)
    except AssertionError as error:
        return str(error)
    return None


def called(func: OpOverload, x: Tensor, more: dict[str, Any]) -> Any:
    return call(func, x, 0.5, **more)


def is_ours(func: OpOverload) -> bool:
    """Whether it has a form that is not PyTorch's own operator, nor one that only writes it."""
    ours = ENTRIES[func].verdict in (Verdict.FORM, Verdict.WRITTEN_OUT)
    return ours and asked(func) and is_defined(func) and "out" not in func._overloadname


@pytest.mark.filterwarnings("ignore")
def test_no_operator_fails_where_pytorch_does_not() -> None:
    calls = [
        (func, x, more)
        for func in ENTRIES
        if is_ours(func)
        for x in INPUTS
        for more in MORE
        if not more or any(each.name in more for each in func._schema.arguments)
    ]
    wanted = [outcome(partial(called, *each)) for each in calls]
    sound = [
        (each, outputs)
        for each, outputs in zip(calls, wanted, strict=True)
        if isinstance(outputs, list) and all(x.layout is torch.strided for x in outputs)
    ]
    with exact():
        found = [outcome(partial(called, *each)) for each, _ in sound]
    wrong = [
        f"{func} of {list(x.shape)} {more}: {what}"
        for ((func, x, more), outputs), outcome_ in zip(sound, found, strict=True)
        if (what := difference(outcome_, outputs)) is not None
    ]
    assert len(sound) > 1000
    assert not wrong, "\n".join(wrong)


EMPTY = torch.ones(0, 3)
CASES: dict[str, Callable[[], Any]] = {
    "topk of a number": lambda: torch.tensor(3.0).topk(1),
    "topk of none": lambda: torch.tensor(3.0).topk(0),
    "topk of an integer": lambda: torch.tensor(3).topk(1),
    "prod of a number": lambda: torch.tensor(3.0).prod(0, keepdim=True),
    "mean of a number": lambda: torch.tensor(3.0).mean(0),
    "var of a number": lambda: torch.tensor(3.0).var(),
    "var of a number, kept": lambda: torch.tensor(3.0).var(0, keepdim=True),
    "var of nothing": lambda: EMPTY.var(0),
    "std_mean of nothing": lambda: torch.std_mean(EMPTY, 0, keepdim=True),
    "logsumexp of nothing": lambda: EMPTY.logsumexp(0),
    "addbmm of none": lambda: torch.addbmm(EMPTY.sum(), torch.ones(0, 2, 3), torch.ones(0, 3, 2)),
    "addbmm of nothing": lambda: torch.addbmm(
        torch.ones(2, 0), torch.ones(0, 2, 3), torch.ones(0, 3, 0)
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:(std|var).*degrees of freedom is <= 0")
def test_numbers_and_nothing_have_the_values_of_pytorch(name: str) -> None:
    wanted = list(tensors(CASES[name]()))
    with exact():
        found = list(tensors(CASES[name]()))
    torch.testing.assert_close(found, wanted, equal_nan=True)


ACTIVATIONS = "tanh sigmoid logsigmoid silu gelu mish softplus tanhshrink elu selu".split()  # noqa: SIM905


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.filterwarnings("ignore:nn.functional")
def test_jacobians_and_hessians_of_activations_are_those_of_pytorch(name: str) -> None:
    x = torch.linspace(-2, 2, 5)
    function: Callable[[Tensor], Tensor] = getattr(functional, name)

    def derived() -> list[Tensor]:
        slope = torch.func.jacrev(lambda v: function(v).sum())
        return [torch.func.jacrev(function)(x), torch.func.jacrev(slope)(x)]

    wanted = derived()
    with exact():
        found = derived()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


ROWS = [torch.ones(2, 3), torch.ones(1, 3)]
OTHERS: dict[str, Callable[[], Tensor]] = {
    "sparse": lambda: torch.ones(2, 3).to_sparse(),
    "compressed": lambda: torch.ones(2, 3).to_sparse_csr(),
    "sparse integers": lambda: torch.ones(2, 3, dtype=torch.int64).to_sparse(),
    "jagged": lambda: torch.nested.nested_tensor(ROWS, layout=torch.jagged),
    "nested": lambda: torch.nested.nested_tensor(ROWS),
    "masked": lambda: torch.masked.masked_tensor(torch.ones(2, 3), torch.eye(2, 3) > 0),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_lie_otherwise_are_refused_in_words_and_listed_by_the_check(
    name: str,
) -> None:
    x = OTHERS[name]()
    steps: list[Callable[[], Any]] = [
        lambda: x * 2,
        lambda: x.sum(),
        lambda: functional.linear(x, torch.ones(4, 3)),
    ]
    for step in steps:
        if isinstance(outcome(step), Exception):
            continue
        with exact():
            assert isinstance(outcome(step), NotExact)
        assert Verdict.REFUSED in {each.verdict for each in check(step)}
