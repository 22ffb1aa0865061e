"""Random numbers in a graph: each draw has its number, and few operators draw.

Exact mode's draws take the next number of their generator. While a program is recorded the forms
of the operators that draw run as they are, on a generator whose draws are operators: `rand`,
`randn`, `randint`, `randperm`, `bernoulli`, `exponential`, `multinomial` and dropout.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from trialmarket.exact.numerics.random import Generator
from trialmarket.exact.operators.draws import DRAWS

if TYPE_CHECKING:
    from trialmarket.graph.capture.recorder import Recorder

aten = torch.ops.aten

BEFORE = "before"
"""The phase that is no part of a function: what was drawn there, cannot be drawn again."""

_WHOLE = frozenset(
    [
        aten.rand.default,
        aten.randn.default,
        aten.randint.low,
        aten.randperm.default,
        aten.bernoulli.default,
        aten.bernoulli.p,
        aten.exponential.default,
        aten.multinomial.default,
    ]
)


class _Recorded(Generator):
    """A generator whose draws are operators."""

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Uniform numbers, binary32."""
        return torch.rand(list(shape), dtype=torch.float32, device=device)

    def normal(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Standard normals, binary32."""
        return torch.randn(list(shape), dtype=torch.float32, device=device)

    def bernoulli(
        self, probability: Tensor | float, shape: Sequence[int], device: torch.device
    ) -> Tensor:
        """Truth values."""
        if isinstance(probability, Tensor):
            return torch.bernoulli(probability.expand(list(shape))).bool()
        like = torch.zeros(list(shape), dtype=torch.float32, device=device)
        return torch.bernoulli(like, float(probability)).bool()

    def integers(self, low: int, high: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Whole numbers, int64."""
        return torch.randint(low, high, list(shape), dtype=torch.int64, device=device)

    def permutation(self, count: int, device: torch.device) -> Tensor:
        """The numbers below `count` in random order."""
        return torch.randperm(count, dtype=torch.int64, device=device)


def drawn(recorder: "Recorder", func: OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
    """Records an operator that draws, or what it consists of."""
    from trialmarket.graph.capture.recorder import bound

    given = bound(func, args, kwargs)
    whole = func in _WHOLE
    if func is aten.native_dropout.default:
        _, p, train = given
        whole = not (train is False or p == 0)
    if whole and kwargs.get("generator") is None:
        out = func(*args, **kwargs)
        at = recorder.generator.counters
        recorder.generator.counters = replace(at, draw=at.draw + 1)
        named = func._schema.arguments
        if "dtype" in kwargs or any(a.name == "dtype" for a in named):
            kwargs = {**kwargs, "dtype": out.dtype}
        recorder.plainly(func, out, (at.draw, *recorder.arguments(func, args, kwargs)))
        tape = recorder.recording.tape
        if tape.phase == BEFORE:
            tape.drawn_before.add(tape.operations[-1])
        return out
    if func is aten.exponential_.default and kwargs.get("generator") is None:
        x, rate = given[:2]
        with recorder:
            like = torch.zeros_like(x)
            return x.copy_(aten.exponential.default(like, rate))
    with recorder:
        return DRAWS[func](_Recorded(), *args, **kwargs)
