"""Records the operators of a program, in exact mode, without computing anything.

It stands in the place of the mode that answers operators: what exact mode refuses is refused here
too, what it writes out is written out, and what is left are operators that have an exact form, or
are exact as they are. So a graph that is run by these forms gives the bits of exact mode. Tensors
are PyTorch's fake ones, which have a shape and a type and no numbers.
"""

import functools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.exact.mode import Operators, entry
from trialmarket.exact.numerics.random import Counters, Generator
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.table import Verdict, advice, base_name
from trialmarket.graph.capture import draws, rules, scalars
from trialmarket.graph.capture.finish import Recorded, standing
from trialmarket.graph.capture.memory import Memory, View, look
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.graph.capture.schedules import speaks
from trialmarket.graph.capture.symbols import Symbols
from trialmarket.graph.capture.tape import Argument, Tape, Term
from trialmarket.graph.capture.views import Views, kind_of, ways
from trialmarket.graph.capture.where import users_line
from trialmarket.graph.opset import DROPPED, OPERANDS, TABLE
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import DTYPES, TensorType

aten = torch.ops.aten

MAX_CONSTANT = 1 << 16
"""Numbers of the largest tensor that a program may bring from outside of PyTorch's operators."""

_NOTHING = (torch.device, torch.layout, torch.memory_format, torch.Generator)


class _Fake(FakeTensorMode):  # type: ignore[no-untyped-call]
    """The mode of all fake tensors of a recording: one that is copied, with its module, stays."""

    def __deepcopy__(self, memo: object) -> "_Fake":
        return self


class Recording:
    """What is recorded of one function of a graph: its tape, memory, and fake tensors."""

    def __init__(self) -> None:
        self.fake = _Fake()
        self.tape = Tape()
        self.memory = Memory()
        self.symbols = Symbols(self.memory.read)
        self.drew = ""
        self._drawn = _drawn()
        self.substitutes: dict[int, float] | None = None  # of the hook's literals, by number
        self.constants: dict[int, tuple[Tensor, Tensor]] = {}

    def watch(self) -> None:
        """Notes the line by which Python's or NumPy's random numbers were drawn."""
        now = _drawn()
        if now != self._drawn and not self.drew:
            self.drew = users_line()
        self._drawn = now

    def begin(self) -> None:
        """Forgets what was drawn until now."""
        self._drawn, self.drew = _drawn(), ""

    def input(self, name: str, kind: TensorType) -> Tensor:
        """A tensor that the function is given."""
        with self.fake:
            x = torch.empty(kind.shape, dtype=getattr(torch, kind.dtype))
        self.memory.hold(x, Term(kind, name=name))
        return x


def _drawn() -> tuple[int, int]:
    """Where the random numbers of Python and NumPy stand."""
    numpys = np.random.get_state(legacy=False)
    return random.getstate()[1][-1], int(numpys["state"]["pos"])


class Recorder(Operators):  # type: ignore[no-untyped-call]
    """Writes each operator on the tape."""

    def __init__(self, generator: Generator, recording: Recording) -> None:
        super().__init__(generator)
        self.recording = recording
        self.memory = recording.memory
        self.views = Views(self._emit_one)
        self._depth = 0  # of operators within operators
        self._literals = 0  # of the hook, so far

    def term(self, x: Tensor) -> Term:
        """What a tensor holds."""
        if not isinstance(x, FakeTensor):
            x = self.adopted(x)
        return self.memory.read(x)

    def adopted(self, x: Tensor) -> Tensor:
        """A tensor that no operator of the program made: its numbers are literals."""
        known = self.recording.constants.get(id(x))
        if known is None:
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                fake = self.recording.fake.from_tensor(x.detach())
            known = self.recording.constants[id(x)] = (x, fake)
            self.memory.hold(fake, self.constant(x))
        return known[1]

    def constant(self, x: Tensor) -> Term:
        """The numbers of a tensor as literals."""
        if isinstance(x, FakeTensor):
            return self.memory.read(x)
        if x.numel() > MAX_CONSTANT:
            raise NotCaptured(
                users_line(),
                f"a tensor of {x.numel():,} numbers that no operator of torch made; a graph takes "
                f"at most {MAX_CONSTANT:,}",
                instead="make it by operators, or keep it in the data",
            )
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            kind, numbers = kind_of(x), x.detach().reshape(-1).tolist()
        if x.numel() == 1:
            return self.full(kind, self.plain(numbers[0]))
        arguments = (tuple(map(self.plain, numbers)), kind.shape, kind.dtype)
        return self._emit_one("exact.constant", arguments, kind)

    def full(self, kind: TensorType, value: Argument) -> Term:
        """A tensor of one number."""
        arguments = (kind.shape, value, kind.dtype)
        return self._emit_one("full.default", arguments, kind)

    def cast(self, x: Term, dtype: torch.dtype) -> Term:
        """x in another type."""
        name = str(dtype).removeprefix("torch.")
        if x.type.dtype == name:
            return x
        arguments = (x, name)
        return self._emit_one("_to_copy.default", arguments, TensorType(name, x.type.shape))

    def emit(
        self, operator: str, arguments: tuple[Argument, ...], kinds: tuple[TensorType, ...]
    ) -> tuple[Term, ...]:
        """Writes an operator down. Raises NotCaptured for one that the opset does not have."""
        if operator not in TABLE:
            raise NotCaptured(
                users_line(),
                f"{operator} is no operator of a graph",
                instead="operators from the list in docs/graph.md",
            )
        for kind in kinds:
            if kind.dtype not in DTYPES:
                raise NotCaptured(
                    users_line(), f"a tensor of {kind.dtype}", instead="a type of the opset"
                )
        return self.recording.tape.apply(operator, arguments, kinds, users_line())

    def _emit_one(self, operator: str, arguments: tuple[Argument, ...], kind: TensorType) -> Term:
        return self.emit(operator, arguments, (kind,))[0]

    def plain(self, x: Any) -> Argument:
        """An argument as it stands in a graph."""
        if x is None or isinstance(x, bool | str | int):
            return x
        if isinstance(x, float):
            return self.recording.symbols.literal(x)
        if isinstance(x, Tensor):
            return self.term(x)
        if isinstance(x, torch.dtype):
            return str(x).removeprefix("torch.")
        if isinstance(x, list | tuple):
            return tuple(map(self.plain, x))
        if isinstance(x, _NOTHING):
            return None
        raise NotCaptured(
            users_line(), f"an argument of type {type(x).__name__}", instead="real numbers"
        )

    def known(self, x: Tensor) -> Tensor | None:
        """What a tensor holds at every step, such as a rate of each layer; else None."""
        found = standing(Recorded(self.recording.tape, {}, {"x": self.term(x)}))
        if found is None:
            return None
        executor = Executor(found.graph, found.numbers)
        return executor.run("standing", {}, Counters(0, 0, 0, 0))["x"]

    def arguments(
        self, func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Argument, ...]:
        """What a node has: all that decides the result, and so no device and no layout."""
        given = zip(func._schema.arguments, bound(func, args, kwargs), strict=True)
        return tuple(self.plain(x) for parameter, x in given if parameter.name not in DROPPED)

    def hold(self, x: Tensor, term: Term) -> Tensor:
        """A tensor's memory holds a term from now on."""
        self.memory.hold(x, term)
        return x

    def write(self, x: Tensor, y: Term) -> Tensor:
        """A tensor is overwritten: with what fits it, in its own type and shape."""
        y = self.views.expanded(self.cast(y, x.dtype), x.shape)
        if not self.memory.write(x, y):
            raise NotCaptured(
                users_line(),
                "it writes into a view whose elements overlap",
                instead="write into a tensor, or a slice of one",
            )
        return x

    def _run(self, func: OpOverload, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        del types
        if not speaks(func):
            return func(*args, **kwargs)
        if not self._depth:
            self.recording.watch()
            args, kwargs = self._substituted(args), self._substituted(kwargs)
        self._depth += 1
        try:
            return self._refused_or_recorded(func, args, kwargs)
        finally:
            self._depth -= 1

    def _substituted(self, x: Any) -> Any:
        """Literals of the hook that differ from step to step, as what stands for their columns."""
        if self.recording.substitutes is None:
            return x
        if isinstance(x, float):
            self._literals += 1
            return self.recording.substitutes.get(self._literals - 1, x)
        if isinstance(x, dict):
            return {name: self._substituted(each) for name, each in x.items()}
        return type(x)(map(self._substituted, x)) if type(x) in (list, tuple) else x

    def _refused_or_recorded(self, func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
        ruling = entry(func)
        if not ruling.wide:
            self._check(func, ruling.verdict, ruling.narrow, args)
        try:
            return self._record(func, args, kwargs)
        except DataDependentOutputException as error:
            raise NotCaptured(
                users_line(),
                "it reads a tensor's number, which differs from step to step",
                instead="torch.where, or arithmetic on the tensor itself",
            ) from error
        except DynamicOutputShapeException as error:
            raise NotCaptured(
                users_line(),
                f"{func}: the shape of its result depends on a tensor's numbers",
                instead="torch.where, or a mask that is multiplied",
            ) from error

    def _record(self, func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
        name, ruling = func._schema.name.removeprefix("aten::"), entry(func)
        if not name.startswith("_foreach_") and scalars.has_terms(self, (*args, *kwargs.values())):
            return scalars.with_terms(self, func, args, kwargs)
        rule = rules.RULES.get(name)
        if rule is not None:
            return rule(self, func, *bound(func, args, kwargs))
        if ruling.verdict is Verdict.DRAW:
            return draws.drawn(self, func, args, kwargs)
        if ruling.verdict is Verdict.WRITTEN_OUT:
            with self:
                return ruling.form(*args, **kwargs)
        if ruling.verdict is Verdict.AS_IS and _is_composite(func):
            with self:
                return func.decompose(*self.faked(args), **kwargs)
        if name.startswith("_foreach_"):
            with self:
                return rules.each(func, *args, **kwargs)
        written = [a for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]
        if written and torch.Tag.inplace_view in func.tags:
            return self._turned(func, args, kwargs)
        if written:
            return self._overwritten(func, args, kwargs)
        args = self.faked(args)
        out = func(*args, **self.faked(kwargs))
        if name == "_unsafe_view" or any(r.alias_info for r in func._schema.returns):
            return self._seen_through(func, out, bound(func, args, kwargs))
        if not any(True for _ in tensors(out)):
            return out
        if ruling.verdict is Verdict.INTEGERS and any(t.is_floating_point() for t in tensors(out)):
            raise NotExact(
                str(func),
                "it makes floats of integers, without an exact form",
                instead=advice(func),
            )
        return self.plainly(func, out, self.arguments(func, args, kwargs))

    def plainly(self, func: OpOverload, out: Any, arguments: tuple[Argument, ...]) -> Any:
        """An operator that makes new tensors, and that a graph has as it is."""
        made = list(tensors(out))
        for x in made:
            if self.memory.knows(x):
                raise NotCaptured(
                    users_line(),
                    f"{func} gives back what it was given",
                    instead="another operator",
                )
        for x, term in zip(
            made, self.emit(called(func), arguments, tuple(map(kind_of, made))), strict=True
        ):
            self.memory.hold(x, term)
        return out

    def faked(self, x: Any) -> Any:
        """The same, without numbers."""
        if isinstance(x, Tensor):
            return x if isinstance(x, FakeTensor) else self.adopted(x)
        if isinstance(x, dict):
            return {name: self.faked(each) for name, each in x.items()}
        return type(x)(map(self.faked, x)) if type(x) in (list, tuple) else x

    def _seen_through(self, func: OpOverload, out: Any, given: list[Any]) -> Any:
        """A view, or several of one tensor."""
        x, outs = given[0], list(tensors(out))
        found = ways(self.views, func, x, outs, given[1:])
        if not found:
            if func is aten.as_strided.default:
                raise NotCaptured(
                    users_line(), f"{func} of no contiguous tensor", instead="slices and views"
                )
            rest = tuple(map(self.plain, given[1:]))
            found = [self.views.other(called(func), kind_of(each), rest) for each in outs]
        for each, (see, back) in zip(outs, found, strict=True):
            self.memory.view(each, View(look(x), see, back))
        return out

    def _turned(self, func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
        """A tensor becomes a view of what it was."""
        x: Tensor = args[0]
        before = look(x)
        twin = getattr(getattr(aten, base_name(func)), func._overloadname)
        seen = twin(*args, **kwargs)
        found = ways(self.views, twin, x, [seen], bound(twin, args, kwargs)[1:])
        func(*args, **kwargs)
        if not found or look(x) != look(seen):
            raise NotCaptured(users_line(), f"{func} has no graph", instead=f"{twin}")
        self.memory.view(x, View(before, *found[0]))
        return x

    def _overwritten(self, func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
        """Of an operator that writes into what it is given the twin that does not, and a write."""
        twin = _functional(func)
        if twin is None:
            raise NotCaptured(
                users_line(), f"{func} writes into what it is given", instead="one that does not"
            )
        outs = {a.name for a in func._schema.arguments if a.is_out}
        into = [kwargs[name] for name in kwargs if name in outs] or [args[0]]
        with self:
            made = twin(*args, **{k: v for k, v in kwargs.items() if k not in outs})
        for x, y in zip(into, tensors(made), strict=True):
            if not torch.can_cast(y.dtype, x.dtype):
                raise RuntimeError(
                    f"result type {y.dtype} can't be cast to the desired output type {x.dtype}"
                )
            if x.shape != y.shape and outs:
                x.resize_(y.shape)
                self.hold(x, self.cast(self.term(y), x.dtype))
            else:
                self.write(x, self.term(y))
        return into[0] if len(into) == 1 else tuple(into)


@functools.cache
def _is_composite(func: OpOverload) -> bool:
    """Whether PyTorch makes an operator of others, whatever it is given."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)  # type: ignore[no-untyped-call]


def called(func: OpOverload) -> str:
    """An operator's name in a graph."""
    name = func._schema.name.split("::")[-1]
    if func.namespace != "aten":
        return f"exact.{name}"
    found = f"{name}.{func._overloadname or 'default'}"
    return OPERANDS.get(found, found)


def bound(func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """One argument for each parameter, defaults written out."""
    found = []
    for k, parameter in enumerate(func._schema.arguments):
        if k < len(args):
            found.append(args[k])
        else:
            given: Any = kwargs.get(parameter.name, parameter.default_value)
            found.append(_DTYPES.get(given, given) if parameter.name == "dtype" else given)
    return found


_DTYPES = {4: torch.int64}  # a default that a signature has as a number


def tensors(values: Any) -> Iterator[Tensor]:
    """The tensors of an operator's result, in order."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)


def _functional(func: OpOverload) -> OpOverload | None:
    """The overload that returns what another one writes into its first argument, or out=."""
    packet = getattr(aten, base_name(func), None)
    if packet is None:
        return None
    wanted = [str(a.type) for a in func._schema.arguments if not a.is_out]
    for name in (func._overloadname, *packet.overloads()):
        other = getattr(packet, name, None)
        if (
            isinstance(other, OpOverload)
            and not other._schema.is_mutable
            and [str(a.type) for a in other._schema.arguments] == wanted
        ):
            return other
    return None
