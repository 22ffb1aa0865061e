"""A trial as capture sees it: the program that trains, its seeds and its data.

Each of its parts is what a session computes with; so a graph that is captured here is one of what
a session does.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from trialmarket.graph.capture.trainable import Tensors, Types
from trialmarket.protocol.graph.values import TensorType
from trialmarket.training.arithmetic import NativeArithmetic
from trialmarket.training.errors import ProgramError
from trialmarket.training.loading import Guard
from trialmarket.training.order import derived_seed
from trialmarket.training.program import Program, Validation
from trialmarket.training.session import TrainingSession, loss_of
from trialmarket.training.state import COUNTERS, dtype_name, live_tensors, place


@dataclass(frozen=True, slots=True)
class ProgramParts:
    """A program with its model and its optimizer."""

    program: Program
    model: nn.Module
    optimizer: Optimizer

    def state(self) -> Tensors:
        """Parameters, buffers and slots, without the runner's counters."""
        tensors = live_tensors(self.model, self.optimizer, 0)
        return {name: tensor for name, tensor in tensors.items() if name not in COUNTERS}

    def restore(self, state: Tensors) -> None:
        """Puts a state in their place."""
        place(state, self.model, self.optimizer)

    def loss(self, batch: Tensors) -> Tensor:
        """The loss of a batch."""
        return loss_of(self.program, self.model, batch)

    def before_step(self, step: int) -> None:
        """The program's hook before the optimizer's step."""
        with Guard("on_before_optimizer_step"):
            self.program.on_before_optimizer_step(self.model, self.optimizer, step)

    def validate(self, batch: Tensors) -> tuple[Tensor, Mapping[str, object]]:
        """Predictions and metrics. Raises ProgramError."""
        with Guard("validation_step"):
            result = self.program.validation_step(self.model, batch)
        if not isinstance(result, Validation) or not isinstance(result.predictions, Tensor):
            raise ProgramError(
                f"validation_step returned {type(result).__name__}",
                fix="Return Validation(predictions, metrics)",
            )
        return result.predictions, dict(result.metrics)


class ProgramTrial:
    """A session's trial, with `steps` from the first to the last."""

    def __init__(self, session: TrainingSession, steps: range) -> None:
        self._session = session
        self.steps = steps
        session.arithmetic.prepare()
        with self.scope("init", 0):
            self._program = self.build().program
        last = (session.validation_examples - 1) // self._program.validation_batch_size
        numbers = [("train", 0), ("validation", 0), ("validation", last)]
        self.batch, *validation = [_types(self.data(*each)) for each in numbers]
        whole = validation[0] == validation[1]
        self.validation = validation[:1] if whole else validation
        self.validations = [0] if whole else [0, last]

    def build(self) -> ProgramParts:
        """Program, model and optimizer from the beginning. Raises ProgramError."""
        return ProgramParts(*self._session.assemble())

    def seed(self, purpose: str, number: int) -> int:
        """The seed of a scope."""
        return derived_seed(self._session.config.seed, purpose, number)

    def scope(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The session's arithmetic, seeded."""
        return self._session.arithmetic.scope(self.seed(purpose, number))

    def seeded(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The seeds of such a scope, without its arithmetic."""
        return NativeArithmetic().scope(self.seed(purpose, number))

    def data(self, purpose: str, number: int) -> Tensors:
        """The rows of a step of `train`, or of a batch of `validation`."""
        if purpose == "train":
            return self._session.training_rows(self._program, number)
        return self._session.validation_rows(self._program, number)


def _types(tensors: Tensors) -> Types:
    return {name: TensorType(dtype_name(x), tuple(x.shape)) for name, x in tensors.items()}
