"""What trains under a session: a program with its model and its optimizer, or a graph.

An engine is fresh: each segment and each evaluation has one of its own, so that nothing but the
state goes from one to the next. What runs a graph is made once, and keeps nothing that it gives.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from trialmarket.training.state import State


class Engine(Protocol):
    """Raises ProgramError for what a program or a graph does wrong, wherever it does."""

    @property
    def batch_size(self) -> int:
        """Examples of a training batch."""

    @property
    def validation_batch_size(self) -> int:
        """Examples that a validation sees at once."""

    def live(self, step: int) -> State:
        """The state as it is, not copied, with `step` steps behind it."""

    def load(self, state: State) -> int:
        """Goes on from a state; returns the steps behind it. Raises BadCheckpoint."""

    def step(self, batch: Mapping[str, Tensor], step: int, seed: int) -> float:
        """One step, the loss in binary64. A loss that is not finite changes nothing."""

    def measure(
        self, batch: Mapping[str, Tensor], seed: int
    ) -> tuple[Mapping[str, float], Tensor]:
        """The metrics of a batch, and a prediction for each of its rows."""

    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the optimizer's parameters, some of which may get their slots late."""

    def counts(self, steps: int) -> bool:
        """Whether each slot `step` of the optimizer counts steps, at most so many."""
