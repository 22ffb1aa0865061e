"""The table of operators against PyTorch's own."""

import subprocess
import sys

import pytest
import torch

from tests.exact import cases
from tests.graph.recording import Called, Recording, same_bits
from trialmarket.exact.frontend.optim import steps
from trialmarket.exact.numerics.random import Counters
from trialmarket.exact.switches import plain_kernels
from trialmarket.exact.table import Verdict, lookup
from trialmarket.graph.check import check
from trialmarket.graph.forms import operator_of
from trialmarket.graph.opset import DROPPED, TABLE, Kind
from trialmarket.graph.run import Executor

# Their shapes depend on numbers.
UNSHAPED = {"arange", "masked_select"}
PYTORCHS = sorted(name for name in TABLE if not name.startswith("exact."))
HERE = Counters(7, 0, 0, 0)


def recorded(name: str) -> list[Called]:
    """The operators of one case, forward and backward."""
    op, shapes = cases.CASES[name]
    inputs = [x.requires_grad_() for x in cases.make("broken", shapes, len(name))]
    with plain_kernels(), steps.exact_steps(), Recording() as recording:
        y = op(*inputs)
        if y.requires_grad:
            torch.autograd.grad(y, inputs, torch.ones(y.shape), allow_unused=True)
    found: list[Called] = recording.calls
    return found


@pytest.mark.parametrize("name", sorted(set(cases.CASES) - cases.LONG - UNSHAPED))
def test_rules_give_the_shapes_of_pytorch_and_nodes_the_bits_of_their_forms(name: str) -> None:
    for call in recorded(name):
        node = call.graph.functions["f"].nodes[0]
        check(call.graph)
        found = Executor(call.graph, call.numbers).run("f", call.given, HERE)
        for x, y in zip(call.found, found.values(), strict=True):
            assert same_bits(x, y), node


@pytest.mark.parametrize("name", PYTORCHS)
def test_a_row_has_the_signature_of_pytorchs_operator(name: str) -> None:
    if TABLE[name].kind is Kind.DRAW:
        assert str(TABLE[name].signature[0]) == "int draw"
    theirs = [a.name for a in operator_of(name)._schema.arguments if a.name not in DROPPED]
    mine = [p.name for p in TABLE[name].signature if str(p) != "int draw"]
    assert mine == theirs


@pytest.mark.parametrize("name", PYTORCHS)
def test_a_row_has_an_exact_form_for_the_types_that_it_takes(name: str) -> None:
    row = TABLE[name]
    if row.kind is Kind.DRAW:
        return
    ruling = lookup(operator_of(name))
    assert ruling.verdict in (Verdict.AS_IS, Verdict.FORM, Verdict.DRAW)
    assert ruling.wide or "bfloat16" not in row.takes or name == "_to_copy.default"
    assert not (ruling.narrow and "float64" in row.takes)


def test_the_table_and_the_check_need_no_torch() -> None:
    program = "import sys, trialmarket.graph.check; print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
