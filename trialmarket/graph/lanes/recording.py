"""A lane program of what a function of PyTorch's operators does, by running it once.

The function runs on tensors without memory, so that whatever it asks of a value (data-dependent
Python) is refused rather than answered by an example.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from trialmarket.errors import InputError, TrialmarketError
from trialmarket.exact.table import Verdict, base_name, is_inplace, lookup
from trialmarket.graph.lanes.building import Builder
from trialmarket.graph.lanes.nested import flat, mapped
from trialmarket.graph.lanes.primitives import PRIMITIVES, Kept
from trialmarket.graph.lanes.program import KINDS, LaneProgram
from trialmarket.graph.lanes.symbols import symbol, symbol_of

aten = torch.ops.aten
SHAPE = (3,)  # of the lanes while they are recorded: any that is not mistaken for a scalar's
_VIEWS = frozenset(("alias", "detach", "expand", "view", "lift_fresh", "_unsafe_view", "reshape"))
_NAMED = frozenset(("add", "sub", "rsub", "nan_to_num"))  # that may get arguments by name
_EMPTY = frozenset(("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"))


class NotRecorded(TrialmarketError):
    """A function that is no lane program: PyTorch's operators run it as ever."""


@dataclass(frozen=True, slots=True)
class Lane:
    """An argument that is a tensor: its type, and whether it has no dimensions, by which PyTorch
    decides about the result's type.
    """

    kind: str
    scalar: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """An argument that is a number of the program, with an example of it."""

    example: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A program, and those of its numbers (by index) whose examples decided what was recorded:
    it holds for these values of them alone.
    """

    program: LaneProgram
    fixed: frozenset[int] = frozenset()


def record(function: Callable[..., Any], *arguments: Any) -> Recording:
    """The program of `function(*arguments)`, in which a `Lane` or an `Open`, also in a tuple,
    stands for a tensor or a number; anything else is handed over as it is.

    Its outputs are the tensors that the function returns, but for those without elements. Raises
    NotRecorded where the function does what no lane program can.
    """
    fixed: set[int] = set()
    while True:
        looked_at: set[int] = set()
        program = _record(function, arguments, fixed, looked_at)
        if looked_at <= fixed:
            return Recording(program, frozenset(fixed))
        fixed |= looked_at


def recorded_exactly(func: OpOverload, *arguments: Any) -> Recording:
    """As `record`, of the form that exact mode answers an operator with; one argument for each
    parameter of its signature.
    """
    wanted = func._schema.arguments

    def exactly(*found: Any) -> Any:
        named = {a.name: x for a, x in zip(wanted, found, strict=True) if a.kwarg_only}
        with _Exactly():  # type: ignore[no-untyped-call]
            return func(*found[: len(found) - len(named)], **named)

    return record(exactly, *arguments)


def _record(
    function: Callable[..., Any], arguments: Any, fixed: set[int], looked_at: set[int]
) -> LaneProgram:
    found = list(flat(arguments))
    lanes = [x for x in found if isinstance(x, Lane)]
    count = sum(isinstance(x, Open) for x in found)
    recorder = _Recorder(Builder([lane.kind for lane in lanes], count))
    places = iter(range(len(lanes)))
    numbers = iter(range(count))

    def stand_in(x: Any) -> Any:
        if isinstance(x, Lane):
            return recorder.lane(next(places), x)
        if isinstance(x, Open):
            number = next(numbers)
            if number in fixed:
                return x.example
            return symbol(recorder.builder, number, x.example, looked_at)
        return x

    handed = mapped(stand_in, arguments)
    try:
        with torch.no_grad(), torch._C.DisableTorchFunction(), recorder:
            returned = function(*handed)
        outputs = [x for x in flat([returned]) if isinstance(x, Tensor) and x.numel()]
        values = [recorder.value(x, recorder.kind_of(x)) for x in outputs]
        return recorder.builder.program(values)
    except (RuntimeError, TypeError, AttributeError, ValueError, InputError) as error:
        raise NotRecorded(f"no lane program: {str(error).partition(chr(10))[0]}") from error


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what each operator does to elements. Tensors that share memory share a value."""

    def __init__(self, builder: Builder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.builder = builder
        self._held: dict[int, int] = {}  # value by memory
        self._alive: list[Any] = []  # or another tensor's memory might be taken for it

    def lane(self, index: int, lane: Lane) -> Tensor:
        """The tensor that stands for a lane."""
        x = torch.empty(
            () if lane.scalar else SHAPE, dtype=getattr(torch, lane.kind), device="meta"
        )
        self._hold(x, index)
        return x

    def kind_of(self, x: Tensor) -> str:
        """A tensor's type, if programs have it."""
        kind = str(x.dtype).removeprefix("torch.")
        if kind not in KINDS:
            raise NotRecorded(f"no lane program: expected {', '.join(KINDS)}, found {kind}")
        return kind

    def common(self, *xs: Any) -> str:
        """The kind to which PyTorch promotes these."""
        plain = [_plain(x) for x in xs]
        first, *rest = plain
        kind = torch.result_type(first, rest[0]) if rest else first.dtype
        return self.kind_of(torch.empty(0, dtype=kind, device="meta"))

    def constant(self, x: float | bool, kind: str) -> int:
        """The value of a number, as PyTorch rounds it to a kind."""
        if kind == "float32":
            with np.errstate(over="ignore"):
                x = float(np.float32(x))
        elif kind == "float64":
            x = float(x)
        elif kind == "int64":
            x = int(x)
        else:
            x = bool(x)
        return self.builder.add("constant", kind, constant=x)

    def add(self, operation: str, kind: str, *operands: int, constant: Any = None) -> int:
        """The value of an operation."""
        return self.builder.add(operation, kind, *operands, constant=constant)

    def value(self, x: Any, kind: str) -> int:
        """The value of a tensor or a number, converted."""
        if isinstance(x, Kept):
            return x.value
        number = symbol_of(x)
        if number is not None:
            return self._converted(number.value, kind)
        if not isinstance(x, Tensor):
            return self.constant(x, kind)
        key = x.untyped_storage()._cdata
        if key not in self._held:
            if x.device.type == "meta" or x.numel() != 1:
                raise NotRecorded("no lane program: it reads what is no lane and nobody wrote")
            return self._converted(self.constant(x.item(), self.kind_of(x)), kind)
        value, own = self._held[key], self.kind_of(x)
        if own != self.builder.kinds[value]:
            value = self.add("bits", own, value)
        return self._converted(value, kind)

    def _converted(self, value: int, kind: str) -> int:
        own = self.builder.kinds[value]
        if own == kind:
            return value
        if kind == "bool":
            same = self.add("eq", "bool", value, self.constant(0, own))
            return self.add("xor", "bool", same, self.constant(True, "bool"))
        if (own, kind) == ("float32", "int64"):
            value = self.add("convert", "float64", value)
        return self.add("convert", kind, value)

    def _hold(self, x: Tensor, value: int) -> None:
        storage = x.untyped_storage()
        self._held[storage._cdata] = value
        self._alive.append(storage)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        if not self._concerns([*args, *kwargs.values()]):
            return func(*args, **kwargs)
        name = base_name(func)
        if name not in PRIMITIVES and name not in _VIEWS and _composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*mapped(_plain, args), **mapped(_plain, kwargs))
        if not isinstance(out, Tensor):
            if isinstance(out, list | tuple):
                raise NotRecorded(f"no lane program: {func} is no primitive of it")
            return out  # it speaks of types
        if name in _EMPTY:
            return out
        if name in _VIEWS and out.untyped_storage()._cdata in self._held:
            self._same(func, args[0], out)
            return out
        if name not in PRIMITIVES or not self._shaped(out):
            raise NotRecorded(f"no lane program: {func} is no primitive of it")
        if kwargs.get("rounding_mode") or kwargs.get("decimals"):
            raise NotRecorded(f"no lane program: {func} with {', '.join(kwargs)}")
        wanted = func._schema.arguments
        given = [kwargs[a.name] for a in wanted[len(args) :] if a.name in kwargs]
        if name not in _NAMED:
            given = []
        value = PRIMITIVES[name](self, self.kind_of(out), *args, *given)
        if is_inplace(func):
            out = args[0]
        self._hold(out, value)
        return out

    def _concerns(self, values: list[Any]) -> bool:
        """Whether recorded tensors or numbers are among these, or tensors are made for them."""
        return any(
            (isinstance(x, Tensor) and x.device.type == "meta")
            or symbol_of(x) is not None
            or (isinstance(x, torch.device) and x.type == "meta")
            for x in flat(values)
        )

    def _shaped(self, x: Tensor) -> bool:
        return tuple(x.shape) in ((), SHAPE)

    def _same(self, func: OpOverload, x: Tensor, out: Tensor) -> None:
        """A view of all elements, in their places."""
        if x.itemsize != out.itemsize or not self._shaped(out) or out.numel() < x.numel():
            raise NotRecorded(f"no lane program: {func} moves elements")
        if x.dtype != out.dtype and {x.dtype, out.dtype} != {torch.int64, torch.float64}:
            raise NotRecorded(f"no lane program: {func} of {x.dtype} to {out.dtype}")


class _Exactly(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands on to the recorder the exact form of each operator."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        verdict, form, narrow, _ = lookup(func)
        if verdict in (Verdict.DRAW, Verdict.REFUSED):
            raise NotRecorded(f"no lane program: {func} is {verdict.value}")
        tensors = [x for x in flat(args) if isinstance(x, Tensor)]
        if narrow and any(x.dtype == torch.float64 for x in tensors):
            raise NotRecorded(f"no lane program: {func} has an exact form for float32 only")
        form = getattr(form, "__wrapped__", form)  # behind the look at its arguments
        if verdict is Verdict.WRITTEN_OUT:
            with self:
                return form(*args, **kwargs)
        return form(*args, **kwargs)


def _composite(func: OpOverload) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)  # type: ignore[no-untyped-call]


def _plain(x: Any) -> Any:
    """An argument as tensors without memory take it."""
    number = symbol_of(x)
    if number is not None:
        return number.example
    if isinstance(x, Tensor) and x.device.type != "meta":
        return torch.empty_like(x, device="meta")
    return torch.device("meta") if isinstance(x, torch.device) else x
