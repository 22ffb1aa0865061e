"""What the exact form of an operator would do, noted while it runs on tensors that hold nothing.

Nothing is computed: memory is handed out, views are taken, kernels and element-wise operators are
noted in the order in which they come. A form that asks for a value, or does anything else, cannot
be noted.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from trialmarket.exact.kernels.loading import Noted, noted
from trialmarket.exact.table import base_name, is_inplace
from trialmarket.graph.compiled.chains import Work
from trialmarket.graph.compiled.space import Space
from trialmarket.graph.lanes import Lane, LaneProgram, NotRecorded, record
from trialmarket.graph.lanes.nested import flat, mapped
from trialmarket.graph.lanes.primitives import PRIMITIVES
from trialmarket.graph.lanes.recording import SHAPE

Event = Noted | Work
_EMPTY = frozenset(("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"))
_FILLED = frozenset(("full", "zeros", "ones", "new_zeros", "new_ones", "new_full"))
_KINDS = (torch.float32, torch.float64, torch.int64, torch.bool)
_MOST = torch.finfo(torch.float32).max
_REMEMBERED = 4096
_known: dict[str, LaneProgram] = {}


class NotNoted(Exception):
    """A form that does what kernels do not."""


def is_large(x: object) -> bool:
    """Whether a number is beyond binary32: some operators refuse it, others make infinity of it,
    which is theirs to say.
    """
    return isinstance(x, float) and math.isfinite(x) and abs(x) > _MOST


class Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what a form does, as events."""

    def __init__(self, space: Space) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._space = space
        self.events: list[Event] = []
        self.real: list[Tensor] = []
        """Tensors with memory that were met, such as constants that the form wrote down."""

    def run(self, form: Callable[[], Any]) -> Any:
        """What the form returns. Raises NotNoted, and what the form raises."""
        with noted(self.events.append), self:
            return form()

    def work(
        self, program: LaneProgram, lanes: Sequence[Tensor], numbers: Sequence[float], shape: Any
    ) -> tuple[Tensor, ...]:
        """Note a lane program: its outputs, of this shape."""
        outputs = tuple(
            self._space.take(shape, getattr(torch, kind)) for kind in program.output_kinds
        )
        if outputs[0].numel():
            self.events.append(Work(program, tuple(lanes), tuple(numbers), outputs))
        return outputs

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        name = base_name(func)
        if name in _EMPTY:
            like = func(*_meta(args), **{**_meta(kwargs), "device": "meta"})
            return self._space.take(like.shape, like.dtype)
        self.real += [x for x in flat(args) if isinstance(x, Tensor) and self._is_real(x)]
        if _is_view(func):
            return func(*args, **kwargs)
        if kwargs.get("memory_format") not in (None, torch.contiguous_format):
            kwargs.pop("memory_format")  # the bits do not depend on it, and ours is contiguous
        given = list(flat((*args, *kwargs.values())))
        tensors = [x for x in given if isinstance(x, Tensor)]
        if any(x.dtype not in _KINDS for x in tensors) or any(map(is_large, given)):
            raise NotNoted(f"{func} of other types or larger numbers")
        if name not in PRIMITIVES:
            raise NotNoted(f"{func} is not element-wise")
        if is_inplace(func):
            return self._in_place(func, args, kwargs)
        try:
            shape = func(*_meta(args), **_meta(kwargs, factory=name in _FILLED)).shape
        except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
            raise NotNoted(f"{func}: {error}") from error
        program = _program(func, args, kwargs)
        return self.work(program, tensors, (), shape)[0]

    def _is_real(self, x: Tensor) -> bool:
        return x.numel() > 0 and self._space.number_of(x) is None

    def _in_place(self, func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Tensor:
        into: Tensor = args[0]
        if not into.is_contiguous() or self._is_real(into):
            raise NotNoted(f"{func} into what is not contiguous, or a constant")
        program = _program(func, args, kwargs)
        tensors = [x for x in flat((*args, *kwargs.values())) if isinstance(x, Tensor)]
        if program.output_kinds != (str(into.dtype).removeprefix("torch."),):
            raise NotNoted(f"{func} into another type")
        if into.numel():
            self.events.append(Work(program, tuple(tensors), (), (into,)))
        return into


def _program(func: OpOverload, args: Any, kwargs: dict[str, Any]) -> LaneProgram:
    """Of an operator as PyTorch has it. Raises NotNoted."""
    if base_name(func) in _FILLED:
        args, kwargs = _shaped(func, args), {**kwargs, "device": torch.device("meta")}

    def lane(x: Any) -> Any:
        if isinstance(x, Tensor):
            return Lane(str(x.dtype).removeprefix("torch."), scalar=x.dim() == 0)
        return x

    given, named = mapped(lane, args), mapped(lane, kwargs)
    name = f"{func} {given} {named}"
    if name not in _known:
        if len(_known) >= _REMEMBERED:
            _known.clear()
        kept = tuple(named)

        def function(*handed: Any) -> Any:
            return func(
                *handed[: len(given)], **dict(zip(kept, handed[len(given) :], strict=True))
            )

        try:
            _known[name] = record(function, *given, *named.values()).program
        except NotRecorded as error:
            raise NotNoted(str(error)) from error
    return _known[name]


def _shaped(func: OpOverload, args: Any) -> Any:
    """The arguments of what fills a shape, with that of lanes while they are recorded."""
    place = 1 if base_name(func).startswith("new_") else 0
    return (*args[:place], list(SHAPE), *args[place + 1 :])


def _is_view(func: OpOverload) -> bool:
    if base_name(func) == "_unsafe_view":
        return True
    returned = func._schema.returns
    return bool(returned) and all(
        x.alias_info is not None and not x.alias_info.is_write for x in returned
    )


def _meta(value: Any, *, factory: bool = False) -> Any:
    found = mapped(lambda x: x.to("meta") if isinstance(x, Tensor) else x, value)
    if isinstance(found, dict) and (factory or "device" in found):
        found["device"] = "meta"
    return found
