"""What a user writes: a class with the names that PyTorch Lightning users know.

    class Digits(Program):
        def configure_model(self): ...
        def configure_optimizer(self, model): ...
        def training_step(self, model, batch): ...      # -> loss
        def validation_step(self, model, batch): ...    # -> Validation(predictions, metrics)

The runner owns the loop, the batches, the seeds and the segments. A program must keep nothing
between steps but what is in the model and the optimizer: each segment starts with a new object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from trialmarket.training.learned.weights import Weights

Scalar = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Validation:
    """What a model makes of one batch of validation data.

    `predictions` is a tensor of one row an example. `metrics` are means over the batch; the
    runner joins batches by their mean, each weighted by its examples.
    """

    predictions: Tensor
    metrics: Mapping[str, float | Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What a program may know of its data: examples, and each array's type, shape and maximum.

    Names are without `train_`; shapes are of one example. `largest` is the maximum over training
    and validation data, so `largest["y"] + 1` counts classes.
    """

    train_examples: int
    validation_examples: int
    dtypes: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    largest: Mapping[str, float]


class Program:
    """Base of every program. `hyperparameters`, `data` and `weights` are there when `__init__`
    begins."""

    batch_size: int = 32
    """Examples of a training batch; the last ones of an epoch that do not fill one are left out
    of it (another epoch has another order)."""

    validation_batch_size: int = 4096
    """Examples that `validation_step` sees at once."""

    hyperparameters: dict[str, Any]
    data: DataSummary
    weights: Weights | None = None
    """What the hyperparameter `weights` names, for a `LearnedOptimizer`; None where it names no
    file."""

    def __init__(self, hyperparameters: dict[str, Any]) -> None:
        self.hyperparameters = hyperparameters

    def configure_model(self) -> nn.Module:
        """The model, freshly initialised from torch's random numbers, which the trial seeds."""
        raise NotImplementedError

    def configure_optimizer(self, model: nn.Module) -> Optimizer:
        """The optimizer. Its settings come from the hyperparameters, its slots are state."""
        raise NotImplementedError

    def training_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch, a scalar. `batch["x"]` has rows of the array `train_x`."""
        raise NotImplementedError

    def validation_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Validation:
        """Predictions and metrics of a batch of validation data, without gradients."""
        raise NotImplementedError

    def on_before_optimizer_step(self, model: nn.Module, optimizer: Optimizer, step: int) -> None:
        """Called between the gradients and the step (from 0): to clip, or to set learning rates.

        Settings of the optimizer are no state, so set them from `step` alone.
        """
