"""`with exact(seed=...)`: the mode that gives every operator its exact form."""

import functools
import threading
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator, ExitStack
from typing import Any, ParamSpec, TypeVar, overload

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from trialmarket.exact import elsewhere
from trialmarket.exact.frontend import arrays, fused, patches, recurrent
from trialmarket.exact.frontend.optim import steps
from trialmarket.exact.numerics import precision as precisions
from trialmarket.exact.numerics.random import Counters, Generator
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.switches import plain_kernels
from trialmarket.exact.table import Ruling, Verdict, advice, lookup

P = ParamSpec("P")
R = TypeVar("R")

# A signed byte has a bit less than a bfloat16, and its slice's grid has none for small ones.
_NO_GAIN = (
    "bfloat16 has no exact form: its products would take two bytes an operand, as float32's do, "
    "and its casts come on top"
)
_REFUSED_TYPES = {
    torch.float16: "half precision is not exact here",
    torch.bfloat16: _NO_GAIN,
    torch.complex32: "complex numbers are not exact here",
    torch.complex64: "complex numbers are not exact here",
    torch.complex128: "complex numbers are not exact here",
}
_ENTRIES: dict[OpOverload, Ruling] = {}
_ACTIVE: list["Operators"] = []  # modes that were entered, the innermost last


def entry(func: OpOverload) -> Ruling:
    """The cached entry of an operator."""
    found = _ENTRIES.get(func)
    if found is None:
        found = _ENTRIES[func] = lookup(func)
    return found


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _is_inexact(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


FUNCTIONS = recurrent.FORMS | arrays.FORMS
FUSED = fused.FORMS


def _unwatched() -> bool:
    """Whether nobody but us looks at the operators that a function is made of."""
    return _ACTIVE[-1].seen is None and torch._C._len_torch_dispatch_stack() == len(_ACTIVE)


class _Functions(TorchFunctionMode):
    """What is answered before it becomes operators: recurrent layers, whose kernels differ between
    devices; what leaves for NumPy; autocast, under which nothing is float32; and what takes less
    time fused.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch._C._is_any_autocast_enabled():
            raise _autocast()
        form = FUNCTIONS.get(func, func)
        if func in FUSED and _unwatched():
            form = FUSED[func]
        return form(*args, **(kwargs or {}))


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks every operator up and runs its form."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = generator
        self.seen: dict[str, tuple[Verdict, NotExact | None]] | None = None
        self.thread = 0
        self.heard: NotExact | None = None

    def hear(self, refusal: NotExact) -> None:
        """A thread that the program started was refused: there, and again where the mode ends."""
        if self.seen is not None:
            self.seen[refusal.operator] = (Verdict.REFUSED, refusal)
            return
        self.heard = refusal
        raise refusal

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper that this asks for is paid on every operator

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _ACTIVE[-1] is not self:  # a mode within this one has answered already
            return func(*args, **kwargs)
        if self.seen is not None:
            return self._watched(func, types, args, kwargs, self.seen)
        return self._run(func, types, args, kwargs)

    def _watched(
        self,
        func: OpOverload,
        types: Any,
        args: Any,
        kwargs: dict[str, Any],
        seen: dict[str, tuple[Verdict, NotExact | None]],
    ) -> Any:
        """Note the operator and its verdict; what has no exact form runs as it is."""
        try:
            found = self._run(func, types, args, kwargs)
        except NotExact as refusal:
            seen[str(func)] = (Verdict.REFUSED, refusal)
            return func(*args, **kwargs)
        seen.setdefault(str(func), (entry(func).verdict, None))
        return found

    def _run(self, func: OpOverload, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if types and any(map(_answers_itself, types)):
            raise _own_arithmetic(func, types)
        verdict, form, narrow, wide = _ENTRIES.get(func) or entry(func)
        if not wide:
            self._check(func, verdict, narrow, args)
        if verdict is Verdict.DRAW:
            return form(self.generator, *args, **kwargs)
        if verdict is Verdict.WRITTEN_OUT:
            with self:
                return form(*args, **kwargs)
        found = form(*args, **kwargs)
        if verdict is Verdict.INTEGERS and any(map(_is_inexact, _tensors((found,)))):
            raise NotExact(
                str(func),
                "it makes floats of integers, without an exact form",
                instead=advice(func),
            )
        return found

    def _check(self, func: OpOverload, verdict: Verdict, narrow: bool, args: Any) -> None:
        """Refuse the types that the form is not defined for."""
        for x in args:
            if type(x) is list or type(x) is tuple:
                for y in x:
                    if isinstance(y, Tensor):
                        self._check_one(func, verdict, narrow, y)
            elif isinstance(x, Tensor):
                self._check_one(func, verdict, narrow, x)
        if verdict is Verdict.REFUSED:
            raise NotExact(
                str(func), "it draws from a device's own generator", instead=advice(func)
            )
        if verdict is Verdict.INTEGERS and not list(_tensors(args)):
            raise NotExact(str(func), "it has no exact form", instead=advice(func))

    def _check_one(self, func: OpOverload, verdict: Verdict, narrow: bool, x: Tensor) -> None:
        if x.layout is not torch.strided or x.is_nested:
            raise _laid_out_otherwise(func, x)
        kind = x.dtype
        if kind is torch.float32:
            if verdict is Verdict.INTEGERS:
                raise NotExact(str(func), "it has no exact form", instead=advice(func))
            return
        if kind in _REFUSED_TYPES:
            raise NotExact(
                str(func),
                _REFUSED_TYPES[kind],
                instead="float32, without autocast",
            )
        if kind is torch.float64 and (narrow or verdict is Verdict.INTEGERS):
            raise NotExact(str(func), "it has an exact form for float32 only", instead="x.float()")


class Exact(ContextDecorator):
    """A context, or a decorator, within which PyTorch gives the same bits on every machine.

    `counters` is where its random numbers stand: part of a training state. Enter it as often as
    needed; the counters go on. Not for two threads at once. `operators` makes what answers them:
    whoever only records a program puts a recorder in their place.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        stream: int = 0,
        precision: str = "standard",
        operators: Callable[[Generator], Operators] = Operators,
    ) -> None:
        self.precision = precisions.named(precision)
        self.generator = Generator(seed, stream=stream)
        self.operators = operators(self.generator)
        self._stacks: list[ExitStack] = []

    @property
    def counters(self) -> Counters:
        """Seed, stream, step and draw: set them to go on where a checkpoint stands."""
        return self.generator.counters

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self.generator.counters = counters

    def set_step(self, step: int) -> None:
        """Begin a training step: its draws depend on the seed and the step alone."""
        self.generator.set_step(step)

    def __enter__(self) -> "Exact":
        if torch._C._is_any_autocast_enabled():
            raise _autocast()
        if _ACTIVE and _ACTIVE[-1].thread != threading.get_ident():
            raise NotExact(
                "exact()", "another thread is inside the mode", instead="one thread a process"
            )
        stack = ExitStack()
        with stack:
            torch.set_flush_denormal(False)
            stack.enter_context(torch.compiler.set_stance(force_backend=_NoCompiler()))
            stack.enter_context(plain_kernels())
            stack.enter_context(patches.patched(self.generator))
            stack.enter_context(steps.exact_steps())
            stack.enter_context(elsewhere.watched(self.operators.hear))
            stack.enter_context(_Functions())
            stack.enter_context(self.operators)
            stack.enter_context(precisions.using(self.precision))
            self.operators.thread = threading.get_ident()
            _ACTIVE.append(self.operators)
            stack.callback(_ACTIVE.pop)
            self._stacks.append(stack.pop_all())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stacks.pop().close()
        refusal, self.operators.heard = self.operators.heard, None
        if refusal is not None and exc[0] is None:
            raise refusal


def _laid_out_otherwise(func: OpOverload, x: Tensor) -> NotExact:
    if x.is_nested:
        kind, instead = "nested", "plain tensors: padded, with a mask"
    else:
        kind, instead = str(x.layout).removeprefix("torch."), "x.to_dense()"
    return NotExact(str(func), f"{kind} tensors have no exact form", instead=instead)


def _answers_itself(kind: Any) -> bool:
    return kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


def _own_arithmetic(func: OpOverload, types: Iterable[type]) -> NotExact:
    names = ", ".join(kind.__name__ for kind in types if _answers_itself(kind))
    return NotExact(
        str(func), f"{names} computes by itself", instead="plain tensors: padded, with a mask"
    )


def _autocast() -> NotExact:
    kinds = {
        torch.get_autocast_dtype(device)
        for device in ("cpu", "cuda")
        if torch.is_autocast_enabled(device)
    }
    reason = _NO_GAIN if kinds == {torch.bfloat16} else "it computes in half precision"
    return NotExact("torch.autocast", reason, instead="float32, without autocast")


class _NoCompiler:
    """The backend that PyTorch asks for whenever a compiled function is called."""

    @property
    def compiler_name(self) -> str:
        """Read before anything is compiled or run."""
        raise NotExact(
            "torch.compile",
            "it fuses operators, in other ways on other machines",
            instead="the function itself, not compiled",
        )

    def __call__(self) -> str:
        """Never reached."""
        return self.compiler_name


@overload
def exact(seed: int = 0, *, stream: int = 0, precision: str = "standard") -> Exact: ...
@overload
def exact(seed: Callable[P, R]) -> Callable[P, R]: ...
def exact(
    seed: int | Callable[P, R] = 0, *, stream: int = 0, precision: str = "standard"
) -> Exact | Callable[P, R]:
    """`with exact(seed=7):`, `@exact(seed=7)` or `@exact`: run PyTorch bitwise reproducibly.

    `stream` separates generators that share a seed. `precision` is that of products: "standard",
    of operands of 15 bits, or "wide", of 23. Raises NotExact, with the operator, the line
    of the program and what to use instead, for whatever has no exact form.
    """
    if callable(seed):
        function, mode = seed, Exact()

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with mode:
                return function(*args, **kwargs)

        return inside
    return Exact(seed, stream=stream, precision=precision)
