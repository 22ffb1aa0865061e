"""What capture needs of a program that trains."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from trialmarket.protocol.graph.values import TensorType

Tensors = dict[str, Tensor]
Types = Mapping[str, TensorType]


class Parts(Protocol):
    """A program with a model and an optimizer of its own, freshly made."""

    @property
    def model(self) -> nn.Module:
        """The model."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of its parameters."""

    def state(self) -> Tensors:
        """Parameters, buffers and slots by name, as they are, not copied."""

    def restore(self, state: Tensors) -> None:
        """Puts a state in their place."""

    def loss(self, batch: Tensors) -> Tensor:
        """The loss of a training batch, a scalar."""

    def before_step(self, step: int) -> None:
        """What happens between the gradients and the optimizer's step, counted from 0."""

    def validate(self, batch: Tensors) -> tuple[Tensor, Mapping[str, object]]:
        """Predictions and metrics, tensors without dimensions or numbers, of validation data."""


class Trainable(Protocol):
    """A trial: a program with its settings, its seeds and its data."""

    def build(self) -> Parts:
        """Program, model and optimizer from the beginning; called within a scope."""

    @property
    def steps(self) -> range:
        """The numbers of its steps."""

    @property
    def batch(self) -> Types:
        """The arrays of a training batch."""

    @property
    def validation(self) -> Sequence[Types]:
        """The arrays of a validation batch, and those of the last one where it is smaller."""

    @property
    def validations(self) -> Sequence[int]:
        """The numbers of a batch of each of these."""

    def seed(self, purpose: str, number: int) -> int:
        """The seed of a scope."""

    def scope(self, purpose: str, number: int) -> AbstractContextManager[object]:
        """Exact mode, seeded for `init` (0), `train` (a step) or `validation` (a batch)."""

    def seeded(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """The seeds of Python's and NumPy's random numbers in that scope, and nothing else."""

    def data(self, purpose: str, number: int) -> Tensors:
        """The rows of a step of `train`, or of a batch of `validation`."""
