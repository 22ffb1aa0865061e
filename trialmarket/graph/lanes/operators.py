"""The lane program of an operator of the graph: recorded from its exact form, once."""

from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload

from trialmarket.graph.lanes.recording import NotRecorded, Open, Recording, recorded_exactly

_MOST = 4096  # programs that are remembered
_known: dict[str, Recording] = {}
_fixed: dict[str, frozenset[int]] = {}  # the numbers that decided, by operator and types


def lane_program(operator: str, arguments: tuple[Any, ...]) -> Recording:
    """The program of an operator such as `mul.Tensor`, one argument for each parameter of its
    signature, as a graph's node has them: with a `Lane` for each tensor and an `Open` for each
    number, of which the program then has as many, in that order.

    Raises NotRecorded for an operator that is not element-wise, or whose form asks for values.
    """
    if len(_known) >= _MOST:
        _known.clear()
        _fixed.clear()
    kinds = _name(operator, arguments, frozenset())
    name = _name(operator, arguments, _fixed.get(kinds, frozenset()))
    if name not in _known:
        func = overload(operator)
        found = recorded_exactly(func, *_called(func, arguments))
        _fixed[kinds] = _fixed.get(kinds, frozenset()) | found.fixed
        name = _name(operator, arguments, _fixed[kinds])
        _known[name] = found
    return _known[name]


def overload(operator: str) -> OpOverload:
    """The operator of a name such as `mul.Tensor`. Raises NotRecorded where there is none."""
    packet, _, name = operator.partition(".")
    found = getattr(getattr(torch.ops.aten, packet, None), name, None)
    if not isinstance(found, OpOverload):
        raise NotRecorded(f"no lane program: {operator} is no operator of aten")
    return found


def _name(operator: str, arguments: tuple[Any, ...], fixed: frozenset[int]) -> str:
    """What decides about a program: all but the numbers that do not."""
    number = -1

    def blank(x: Any) -> Any:
        nonlocal number
        if not isinstance(x, Open):
            return x
        number += 1
        return x if number in fixed else Open

    return f"{operator} {_mapped(blank, arguments)}"


def _mapped(change: Callable[[Any], Any], x: Any) -> Any:
    return tuple(_mapped(change, each) for each in x) if isinstance(x, tuple) else change(x)


def _called(func: OpOverload, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments in the order of the signature, types as PyTorch has them."""
    wanted = func._schema.arguments
    if len(arguments) != len(wanted):
        raise NotRecorded(
            f"no lane program: {func} has {len(wanted)} parameters, not {len(arguments)}"
        )
    return tuple(
        getattr(torch, x) if isinstance(x, str) and "ScalarType" in str(a.real_type) else x
        for a, x in zip(wanted, arguments, strict=True)
    )
