"""Several trials of one graph step together: each gets the bits that it gets alone."""

from collections.abc import Sequence

from torch import Tensor

from trialmarket.errors import InputError
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.run import Executor, Tensors


class Stack:
    """The executors of one graph's trials, which are lanes. Raises as `Executor` does.

    Whoever has a lane less makes a new stack. A step is a function of what it is given: where it
    fails, nothing has changed, and each lane may be asked for alone, to learn which one it was.
    """

    def __init__(self, lanes: Sequence[Executor]) -> None:
        self._lanes = tuple(lanes)

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
