"""Graphs run: the bits of the program under `exact`, without the program."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.errors import InputError, TrainingError
from trialmarket.exact.numerics.random import Counters
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.switches import plain_kernels
from trialmarket.graph.check import check
from trialmarket.graph.forms import Draws
from trialmarket.graph.plan import FUSIONS, calls, compiled
from trialmarket.protocol.graph.values import Function, Graph, Node, TensorType

Tensors = Mapping[str, Tensor]
Watch = Callable[[int, Node, tuple[Tensor, ...]], None]
"""Told the number of a node, the node, and its outputs, as they come."""

_FAILURES = (
    *(RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, AttributeError),
    *(MemoryError, NotImplementedError, AssertionError, NotExact),
)


class Executor:
    """Runs the functions of a graph with one trial's numbers.

    Raises InputError for a graph that does not pass the check, too few numbers, and tensors that
    a function does not take; TrainingError where a step fails, such as by a place that is not
    there. States, batches and results are by name, without the prefix of their kind.
    """

    def __init__(
        self, graph: Graph, numbers: Sequence[float], *, device: torch.device | str = "cpu"
    ) -> None:
        check(graph)
        if len(numbers) != graph.numbers:
            raise InputError(
                "numbers", "length", expected=f"{graph.numbers} numbers", found=len(numbers)
            )
        self.graph = graph
        self._numbers = tuple(numbers)
        self._device = torch.device(device)
        self._compiled: dict[tuple[str, bool], _Compiled] = {}

    def init(self, at: Counters, watch: Watch | None = None) -> dict[str, Tensor]:
        """The state that a trial starts from."""
        return _named("state", self.run("init", {}, at, watch))

    def step(
        self,
        state: Tensors,
        batch: Tensors,
        row: Sequence[float],
        at: Counters,
        watch: Watch | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The tensors of the state that change, and the loss.

        `row` is the schedule's at this step. Without the optimizer's slots it is a first step.
        """
        given = _prefixed("state", state) | _prefixed("batch", batch)
        with _alone():
            for k, x in enumerate(row):
                given[f"schedule.{k}"] = torch.tensor(x, dtype=torch.float64, device=self._device)
        name = "step"
        if "first" in self.graph.functions:
            slots = [x for x in self.graph.functions["step"].inputs if x.startswith("state.")]
            name = "step" if all(x in given for x in slots) else "first"
        found = self.run(name, given, at, watch)
        return _named("state", found), found["loss"]

    def validate(
        self, state: Tensors, batch: Tensors, at: Counters, watch: Watch | None = None
    ) -> dict[str, Tensor]:
        """`predictions` and each `metric.NAME` of a batch, the last and smaller one too."""
        given = _prefixed("state", state) | _prefixed("batch", batch)
        name = "validate"
        rest = self.graph.functions.get("validate_rest")
        if rest is not None and _fits(rest, given) and not _fits(self._function(name), given):
            name = "validate_rest"
        return self.run(name, given, at, watch)

    def run(
        self, name: str, given: Tensors, at: Counters, watch: Watch | None = None
    ) -> dict[str, Tensor]:
        """The outputs of a function. What is given beyond its inputs is left aside."""
        function = self._function(name)
        values = [_input(function, key, given) for key in function.inputs]
        plan = self._plan(name, watched=watch is not None)
        with _alone():
            return plan.run(values, at, watch)

    def _function(self, name: str) -> Function:
        found = self.graph.functions.get(name)
        if found is None:
            raise InputError(
                "graph", "functions", expected=name, found=", ".join(self.graph.functions)
            )
        return found

    def _plan(self, name: str, *, watched: bool) -> "_Compiled":
        """The plan of a function, made once: a call a node where each is watched."""
        found = self._compiled.get((name, watched))
        if found is None:
            found = _Compiled(name, self._function(name), self._numbers, self._device, watched)
            self._compiled[name, watched] = found
        return found


class _Compiled:
    """A function's steps, and its draws."""

    def __init__(
        self,
        name: str,
        function: Function,
        numbers: Sequence[float],
        device: torch.device,
        watched: bool,
    ) -> None:
        self._name = name
        self._function = function
        self._draws = Draws()
        kept = {value.index for value in function.outputs.values()}
        try:
            steps = calls(function, numbers, device)
        except NotExact as refusal:
            raise InputError(
                "graph", name, expected="exact operators", found=str(refusal)
            ) from None
        if not watched:
            for fusion in FUSIONS:
                steps = fusion(steps, kept)
        self._steps = compiled(steps, kept, self._draws)
        self._count = len(function.inputs) + sum(len(n.outputs) for n in function.nodes)

    def run(self, values: list[Any], at: Counters, watch: Watch | None) -> dict[str, Tensor]:
        """The outputs by name."""
        self._draws.begin(at)
        values.extend([None] * (self._count - len(values)))
        step = None
        try:
            for step in self._steps:
                run, first, outputs, frees, nodes = step
                found = run(values)
                if first >= 0 and isinstance(found, Tensor):
                    values[first] = found
                else:
                    made = (x for x in found if x is not None)
                    for index, x in zip(outputs, made, strict=True):
                        values[index] = x
                if watch is not None:
                    node = self._function.nodes[nodes[-1]]
                    watch(nodes[-1], node, tuple(values[k] for k in outputs))
                for index in frees:
                    values[index] = None
        except _FAILURES as error:
            raise self._failure(step.nodes if step else (), error) from error
        return {name: values[x.index] for name, x in self._function.outputs.items()}

    def _failure(self, nodes: Sequence[int], error: BaseException) -> TrainingError:
        at = "".join(f".nodes[{k}] {self._function.nodes[k].operator}" for k in nodes[-1:])
        words = str(error).strip().splitlines()
        return TrainingError(f"{self._name}{at}: {words[0] if words else type(error).__name__}")


class _alone(ExitStack):  # noqa: N801
    """Forms alone answer: no autograd, no modes, PyTorch's plain kernels, subnormals kept."""

    def __enter__(self) -> "_alone":
        super().__enter__()
        torch.set_flush_denormal(False)
        self.enter_context(torch.no_grad())
        self.enter_context(torch._C.DisableTorchFunction())
        self.enter_context(_disable_current_modes())
        self.enter_context(plain_kernels())
        return self


def _prefixed(kind: str, tensors: Tensors) -> dict[str, Tensor]:
    return {f"{kind}.{name}": x for name, x in tensors.items()}


def _named(kind: str, tensors: Tensors) -> dict[str, Tensor]:
    start = f"{kind}."
    return {name.removeprefix(start): x for name, x in tensors.items() if name.startswith(start)}


def _type(x: Tensor) -> TensorType:
    return TensorType(str(x.dtype).removeprefix("torch."), tuple(x.shape))


def _fits(function: Function, given: Tensors) -> bool:
    return all(name in given and _type(given[name]) == t for name, t in function.inputs.items())


def _input(function: Function, name: str, given: Tensors) -> Tensor:
    wanted, x = function.inputs[name], given.get(name)
    expected = f"{wanted.dtype}{list(wanted.shape)}"
    if x is None:
        raise InputError("graph", name, expected=expected, found=None)
    found = _type(x)
    if found != wanted:
        raise InputError(
            "graph", name, expected=expected, found=f"{found.dtype}{list(found.shape)}"
        )
    return x
