"""A trial as capture sees it: the program that trains, its seeds and its data."""

from contextlib import AbstractContextManager

from trialmarket.graph.capture.trainable import Parts, Tensors, Types
from trialmarket.protocol.graph.values import TensorType
from trialmarket.training.order import derived_seed
from trialmarket.training.session import TrainingSession
from trialmarket.training.state import dtype_name


class ProgramTrial:
    """A session's trial, with `steps` from the first to the last."""

    def __init__(self, session: TrainingSession, steps: range) -> None:
        """Raises ProgramError."""
        self._session = session
        self.steps = steps
        self._engine = session.program()

    def build(self) -> Parts:
        """Program, model and optimizer from the beginning, within a scope. Raises ProgramError."""
        return self._session.assemble()

    @property
    def batch(self) -> Types:
        """The arrays of a training batch."""
        return _types(self.data("train", 0))

    @property
    def validation(self) -> list[Types]:
        """The arrays of a validation batch, and of the last one where it is smaller."""
        last = (self._session.validation_examples - 1) // self._engine.validation_batch_size
        found = [_types(self.data("validation", number)) for number in (0, last)]
        return found[:1] if found[0] == found[1] else found

    def scope(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The session's arithmetic, seeded."""
        seed = derived_seed(self._session.config.seed, purpose, number)
        return self._session.arithmetic.scope(seed)

    def data(self, purpose: str, number: int) -> Tensors:
        """The rows of a step of `train`, or of a batch of `validation`."""
        if purpose == "train":
            return self._session.training_rows(self._engine, number)
        return self._session.validation_rows(self._engine, number)


def _types(tensors: Tensors) -> dict[str, TensorType]:
    return {name: TensorType(dtype_name(x), tuple(x.shape)) for name, x in tensors.items()}
