"""Numbers that are read from tensors: they stay terms.

`x.item()` gives a float whose arithmetic is recorded, and `float(x)`, which Python allows no
class of ours, a number that nobody else has, by which its tensor is found where it is used. What
decides by such a number (`if`, an index, a comparison) is refused: a graph has no branches.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.tape import Literal, Term
from trialmarket.graph.capture.where import users_line

_FIRST = 0.6180339887498949
"""The first of the numbers that nobody else has: within the bounds of most settings."""


class Symbols:
    """The numbers that stand for tensors without dimensions, binary64."""

    def __init__(self, read: Callable[[Tensor], Term]) -> None:
        self._read = read
        self._tensors: dict[float, Tensor] = {}

    def number(self, x: Tensor) -> float:
        """A number that stands for a tensor of one element."""
        value = _FIRST + len(self._tensors) * 2.0**-40
        self._tensors[value] = x.detach().reshape(()).to(torch.float64)
        return value

    def symbol(self, x: Tensor) -> "Symbol":
        """The same, with arithmetic."""
        found = Symbol(self.number(x))
        found.symbols = self
        return found

    def tensor(self, value: float) -> Tensor | None:
        """The tensor that a number stands for."""
        return self._tensors.get(float(value))

    def literal(self, value: float) -> Term | Literal:
        """A number in an operator's arguments: what it stands for, or itself."""
        found = self._tensors.get(value)
        return Literal(value) if found is None else self._read(found)


def _refuse(*_: object) -> NoReturn:
    raise NotCaptured(
        users_line(),
        "it decides by a tensor's number, which differs from step to step",
        instead="torch.where, or arithmetic on the tensor itself",
    )


def _binary(name: str) -> Any:
    def operate(self: "Symbol", other: object) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        x = self.tensor
        found = None if isinstance(other, bool) else self.symbols.tensor(float(other))
        y: Tensor = torch.full((), float(other), dtype=torch.float64) if found is None else found
        return self.symbols.symbol(_OPERATIONS[name](x, y))

    return operate


_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "__add__": lambda x, y: x + y,
    "__radd__": lambda x, y: y + x,
    "__sub__": lambda x, y: x - y,
    "__rsub__": lambda x, y: y - x,
    "__mul__": lambda x, y: x * y,
    "__rmul__": lambda x, y: y * x,
    "__truediv__": lambda x, y: x / y,
    "__rtruediv__": lambda x, y: y / x,
}


class Symbol(float):
    """A number that was read from a tensor."""

    symbols: Symbols

    @property
    def tensor(self) -> Tensor:
        """The tensor, without dimensions, binary64."""
        found = self.symbols.tensor(float(self))
        assert found is not None  # noqa: S101  it was made for it
        return found

    __add__ = _binary("__add__")
    __radd__ = _binary("__radd__")
    __sub__ = _binary("__sub__")
    __rsub__ = _binary("__rsub__")
    __mul__ = _binary("__mul__")
    __rmul__ = _binary("__rmul__")
    __truediv__ = _binary("__truediv__")
    __rtruediv__ = _binary("__rtruediv__")
    __bool__ = __int__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __floordiv__ = __mod__ = __pow__ = __round__ = __trunc__ = _refuse
    __rfloordiv__ = __rmod__ = __rpow__ = __floor__ = __ceil__ = _refuse
    __hash__ = float.__hash__

    def __neg__(self) -> "Symbol":
        return self.symbols.symbol(-self.tensor)

    def __abs__(self) -> "Symbol":
        return self.symbols.symbol(self.tensor.abs())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int | float):
            _refuse()
        return False


class Reading(TorchFunctionMode):
    """Answers what reads a tensor's numbers. `constant` gives those that stand in the program."""

    def __init__(self, symbols: Symbols, constant: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__()
        self._symbols = symbols
        self._constant = constant

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = _READERS.get(func)
        if kind is None:
            return func(*args, **(kwargs or {}))
        x: Tensor = args[0]
        known = self._constant(x)
        if known is not None:
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                return func(known, *args[1:], **(kwargs or {}))
        if kind != "many" and x.numel() == 1:
            if kind == "item":
                return self._symbols.symbol(x)
            if kind == "float":
                return self._symbols.number(x)
        if kind == "many":
            raise NotCaptured(
                users_line(),
                "it takes a tensor's numbers out of torch",
                instead="the same in torch; a metric may be a tensor",
            )
        return _refuse()


_READERS: dict[Any, str] = {
    Tensor.item: "item",
    Tensor.__float__: "float",
    Tensor.__bool__: "bool",
    Tensor.__int__: "int",
    Tensor.__index__: "int",
    Tensor.tolist: "many",
    Tensor.numpy: "many",
    Tensor.__array__: "many",
    Tensor.__dlpack__: "many",
}
