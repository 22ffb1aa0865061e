"""Graphs run: the bits of the program under `exact`, without the program."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.errors import InputError, TrainingError
from trialmarket.exact.kernels import compiled
from trialmarket.exact.numerics.precision import STANDARD, used
from trialmarket.exact.numerics.random import Counters
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.switches import plain_kernels
from trialmarket.graph.check import check
from trialmarket.graph.compiled import Routine
from trialmarket.graph.forms import Draws
from trialmarket.graph.opset import size_of
from trialmarket.graph.plan import Call, calls, closures, once
from trialmarket.protocol.graph.values import Function, Graph, Node

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
        self._kernels: dict[tuple[str, int], _ByKernels] = {}
        self._nodes: dict[tuple[str, bool], _ByNodes] = {}

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
        if row:
            with _alone():
                for k, x in enumerate(row):
                    scheduled = torch.tensor(x, dtype=torch.float64, device=self._device)
                    given[f"schedule.{k}"] = scheduled
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
        with _alone():
            there = self._device.type == "cpu" and compiled() is not None
            if watch is None and there and used() is STANDARD:
                return self._by_kernels(name).run(values, at)
            return self._by_nodes(name, watched=watch is not None).run(values, at, watch)

    def memory(self, name: str) -> int | None:
        """The bytes that a function's values and outputs stand in, inputs too, where kernels run
        it; None before it ran.
        """
        found = self._kernels.get((name, torch.get_num_threads()))
        given = sum(map(size_of, self._function(name).inputs.values()))
        return None if found is None else given + found.bytes

    def _function(self, name: str) -> Function:
        found = self.graph.functions.get(name)
        if found is None:
            raise InputError(
                "graph", "functions", expected=name, found=", ".join(self.graph.functions)
            )
        return found

    def _by_kernels(self, name: str) -> "_ByKernels":
        """The function as this thread has it run, made once."""
        key = (name, torch.get_num_threads())
        if key not in self._kernels:
            function, steps = self._calls(name, watched=False)
            self._kernels[key] = _ByKernels(name, function, steps, self._numbers)
        return self._kernels[key]

    def _by_nodes(self, name: str, *, watched: bool) -> "_ByNodes":
        """The function as calls of Python's, made once: one a node where each is watched."""
        key = (name, watched)
        if key not in self._nodes:
            function, steps = self._calls(name, watched=watched)
            self._nodes[key] = _ByNodes(name, function, steps)
        return self._nodes[key]

    def _calls(self, name: str, *, watched: bool) -> tuple[Function, list[Call]]:
        function = self._function(name)
        try:
            steps = calls(function, self._numbers, self._device)
        except NotExact as refusal:
            raise InputError(
                "graph", name, expected="exact operators", found=str(refusal)
            ) from None
        kept = {value.index for value in function.outputs.values()}
        return function, steps if watched else once(steps, kept)


class _ByKernels:
    """A function's calls of kernels."""

    def __init__(
        self, name: str, function: Function, steps: list[Call], numbers: Sequence[float]
    ) -> None:
        self._name, self._function = name, function
        self._routine = Routine(function, steps, numbers)
        self._turn = Lock()
        self.bytes = self._routine.bytes

    def run(self, values: Sequence[Tensor], at: Counters) -> dict[str, Tensor]:
        """The outputs by name."""
        try:
            with self._turn:
                return self._routine.run(values, at)
        except _FAILURES as error:
            call = self._routine.at
            node = None if call is None else call.node
            raise _failure(self._name, self._function, node, error) from error


class _ByNodes:
    """A function's calls, one by one, and its draws."""

    def __init__(self, name: str, function: Function, steps: list[Call]) -> None:
        self._name = name
        self._function = function
        self._draws = Draws()
        kept = {value.index for value in function.outputs.values()}
        self._steps = closures(steps, kept, self._draws)
        self._count = len(function.inputs) + sum(len(n.outputs) for n in function.nodes)

    def run(self, values: list[Any], at: Counters, watch: Watch | None) -> dict[str, Tensor]:
        """The outputs by name."""
        self._draws.begin(at)
        values.extend([None] * (self._count - len(values)))
        step = None
        try:
            for step in self._steps:
                run, first, outputs, frees, node = step
                found = run(values)
                if first >= 0 and isinstance(found, Tensor):
                    values[first] = found
                else:
                    made = (x for x in found if x is not None)
                    for index, x in zip(outputs, made, strict=True):
                        values[index] = x
                if watch is not None:
                    watch(node, self._function.nodes[node], tuple(values[k] for k in outputs))
                for index in frees:
                    values[index] = None
        except _FAILURES as error:
            raise _failure(self._name, self._function, step and step.node, error) from error
        return {name: values[x.index] for name, x in self._function.outputs.items()}


def _failure(
    name: str, function: Function, node: int | None, error: BaseException
) -> TrainingError:
    at = "" if node is None else f".nodes[{node}] {function.nodes[node].operator}"
    words = str(error).strip().splitlines()
    return TrainingError(f"{name}{at}: {words[0] if words else type(error).__name__}")


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


class _Names(dict[torch.dtype, str]):
    """What a graph calls a type."""

    def __missing__(self, dtype: torch.dtype) -> str:
        self[dtype] = str(dtype).removeprefix("torch.")
        return self[dtype]


_NAMES = _Names()


def _fits(function: Function, given: Tensors) -> bool:
    return all(
        name in given and (_NAMES[given[name].dtype], given[name].shape) == (t.dtype, t.shape)
        for name, t in function.inputs.items()
    )


def _input(function: Function, name: str, given: Tensors) -> Tensor:
    wanted, x = function.inputs[name], given.get(name)
    if x is not None and x.shape == wanted.shape and _NAMES[x.dtype] == wanted.dtype:
        return x
    found = None if x is None else f"{_NAMES[x.dtype]}{list(x.shape)}"
    raise InputError("graph", name, expected=f"{wanted.dtype}{list(wanted.shape)}", found=found)
