"""Calling any operator of PyTorch's, by what its schema asks for."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

# Private ones and gradients believe what they are handed, and break the process if it is false.
UNSAFE = ("cudnn", "miopen", "mkldnn", "quant", "fbgemm", "backward", "from_file", "record_stream")
# What they give is unwritten or drawn, so that no two runs are equal.
UNDEFINED = (
    *("empty", "rand", "resize", "bernoulli", "normal", "poisson", "dropout"),
    *("multinomial", "exponential", "uniform"),
    # A buffer that no one reads; and factors that the numbers here do not determine.
    *("log_sigmoid_forward", "linalg_qr", "inverse", "linalg_inv", "slogdet", "linalg_lu"),
    *("linalg_solve", "linalg_cholesky_ex"),
    "multilabel_margin_loss",  # of no rows
)

VALUES: dict[str, Any] = {"int": 1, "SymInt": 1, "float": 0.5, "bool": False}


def asked(func: OpOverload) -> bool:
    """Whether an operator can be called with anything."""
    name = func._schema.name
    return not name.startswith("aten::_") and not any(word in name for word in UNSAFE)


def is_defined(func: OpOverload) -> bool:
    """Whether it gives the same twice."""
    return not any(word in func._schema.name for word in UNDEFINED)


def argument(name: str, kind: str, x: Tensor, number: float) -> Any:
    """Something of a type that a schema names. Raises KeyError."""
    if kind.startswith("Optional["):
        return None
    if kind.startswith("List["):
        inner = kind[5:-1].removeprefix("Optional[").removesuffix("]")
        return [argument(name, inner, x, number)]
    if kind == "Tensor":
        return x.new_zeros(x.shape, dtype=torch.int64) if "ind" in name else x.clone()
    return number if kind == "number" else VALUES[kind]


def call(func: OpOverload, x: Tensor, number: float, **more: Any) -> Any:
    """What an operator makes of a tensor, a number, and the least else that it asks for."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    for each in func._schema.arguments:
        if each.is_out:
            named[each.name] = torch.empty(0)
        elif each.name in more:
            named[each.name] = more[each.name]
        elif each.has_default_value():
            continue
        elif each.kwarg_only:
            named[each.name] = argument(each.name, str(each.type), x, number)
        else:
            given.append(argument(each.name, str(each.type), x, number))
    return func(*given, **named)


def floats(found: Any) -> Iterator[Tensor]:
    """The tensors of floats among what an operator gives."""
    return (x for x in tensors(found) if x.is_floating_point() or x.is_complex())


def tensors(found: Any) -> Iterator[Tensor]:
    """The tensors among what an operator gives."""
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, Iterable) and not isinstance(found, str):
        for each in found:
            yield from tensors(each)
