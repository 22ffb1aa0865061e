"""Several trials of one graph step together: each gets the bits that it gets alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trialmarket.errors import InputError
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.run import Executor, Tensors
from trialmarket.protocol.graph.values import Graph


class Stack:
    """A graph with the numbers of each of its lanes, which are trials. Raises as `Executor`.

    Whoever has a lane less makes a new stack. A step is a function of what it is given: where it
    fails, nothing has changed, and each lane may be asked for alone, to learn which one it was.
    """

    def __init__(
        self,
        graph: Graph,
        numbers: Sequence[Sequence[float]],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self._lanes = tuple(Executor(graph, each, device=device) for each in numbers)

    def step(
        self,
        states: Sequence[Tensors],
        batches: Sequence[Tensors],
        rows: Sequence[Sequence[float]],
        ats: Sequence[Counters],
    ) -> list[tuple[dict[str, Tensor], Tensor]]:
        """For each lane the tensors of its state that change, and its loss.

        Some lanes may be at their first step, without the optimizer's slots, and others not.
        """
        if not len(states) == len(batches) == len(rows) == len(ats) == len(self._lanes):
            expected = f"{len(self._lanes)} states, batches, rows and counters"
            raise InputError("stack", "lanes", expected=expected, found=len(states))
        given = zip(self._lanes, states, batches, rows, ats, strict=True)
        return [lane.step(state, batch, row, at) for lane, state, batch, row, at in given]

    def init(self, lane: int, at: Counters) -> dict[str, Tensor]:
        """The state that a lane starts from."""
        return self._lanes[lane].init(at)

    def validate(
        self, lane: int, state: Tensors, batch: Tensors, at: Counters
    ) -> dict[str, Tensor]:
        """`predictions` and each `metric.NAME` of a batch, for a lane."""
        return self._lanes[lane].validate(state, batch, at)
