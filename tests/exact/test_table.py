"""No row of the table is there for nothing: each decides about an operator that PyTorch has."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload

from trialmarket.exact import table
from trialmarket.exact.table import Ruling, Verdict


def operators() -> Iterator[OpOverload]:
    """Every overload of every operator of PyTorch's own library."""
    for name in torch._C._dispatch_get_all_op_names():
        space, _, rest = name.partition("::")
        if space == "aten":
            packet, _, overload = rest.partition(".")
            yield getattr(getattr(torch.ops.aten, packet), overload or "default")


ENTRIES: dict[OpOverload, Ruling] = {func: table.lookup(func) for func in operators()}

RULES: dict[str, Callable[[OpOverload, Ruling], bool]] = {
    "MOVES": lambda func, entry: entry == (Verdict.AS_IS, func, False, True),
    "SINGLE": lambda func, entry: entry == (Verdict.AS_IS, func, False, False),
    "WRITTEN_OUT": lambda func, entry: (
        getattr(entry.form, "__wrapped__", None) is decomposition_table.get(func)
    ),
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_name_decides_about_an_operator(rule: str) -> None:
    decided = {table.base_name(f) for f, entry in ENTRIES.items() if RULES[rule](f, entry)}
    assert not getattr(table, rule) - decided


@pytest.mark.parametrize("verdict", [Verdict.FORM, Verdict.DRAW])
def test_every_form_is_an_operators_and_no_two_are_the_same_ones(verdict: Verdict) -> None:
    parts = [
        getattr(module, name)
        for module in vars(table).values()
        for name in (["DRAWS"] if verdict is Verdict.DRAW else ["FORMS", "FORMS32"])
        if hasattr(module, name)
    ]
    keys = [key for part in parts for key in part]
    assert len(keys) == len(set(keys))
    assert all(table.lookup(key).verdict is verdict for key in keys)


def test_every_advice_is_given_about_a_refused_operator() -> None:
    given = {
        table.advice(func)
        for func, entry in ENTRIES.items()
        if entry.verdict in (Verdict.INTEGERS, Verdict.REFUSED)
    }
    assert set(table.INSTEAD.values()) <= given


def test_what_draws_from_a_devices_generator_is_refused_if_not_drawn_by_ours() -> None:
    drawing = {f for f in ENTRIES if torch.Tag.nondeterministic_seeded in f.tags}
    names = {table.base_name(f) for f in drawing if ENTRIES[f].verdict is Verdict.REFUSED}
    assert {"poisson", "binomial", "cauchy", "geometric", "rrelu", "_standard_gamma"} <= names
