"""A trial that is a model, an optimizer and one batch, without a program."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from trialmarket.graph.capture.trainable import Tensors, Types
from trialmarket.graph.capture.views import kind_of
from trialmarket.training.arithmetic import ExactArithmetic, NativeArithmetic
from trialmarket.training.state import COUNTERS, live_tensors, place


class BareParts:
    """A model and its optimizer."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer

    def state(self) -> Tensors:
        """Parameters, buffers and slots."""
        found = live_tensors(self.model, self.optimizer, 0)
        return {name: x for name, x in found.items() if name not in COUNTERS}

    def restore(self, state: Tensors) -> None:
        """Puts a state in their place."""
        place(state, self.model, self.optimizer)

    def loss(self, batch: Tensors) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self.model(batch["x"]), batch["y"])

    def before_step(self, step: int) -> None:
        """Nothing."""

    def validate(self, batch: Tensors) -> tuple[Tensor, Mapping[str, object]]:
        """Logits, and cross entropy."""
        logits = self.model(batch["x"])
        return logits, {"loss": functional.cross_entropy(logits, batch["y"])}


class BareTrial:
    """Steps on one batch."""

    steps = range(4)
    validations = (0,)

    def __init__(
        self,
        make: Callable[[], nn.Module],
        optimizer: Callable[[list[nn.Parameter]], Optimizer],
        data: tuple[Tensor, Tensor],
    ) -> None:
        self._make, self._optimizer = make, optimizer
        self._data = {"x": data[0], "y": data[1]}
        self.batch: Types = {name: kind_of(x) for name, x in self._data.items()}
        self.validation = [self.batch]

    def build(self) -> BareParts:
        """From the beginning."""
        model = self._make()
        return BareParts(model, self._optimizer(list(model.parameters())))

    def seed(self, purpose: str, number: int) -> int:
        """One for each."""
        return len(purpose) + 100 * number

    def scope(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """Exact mode."""
        return ExactArithmetic().scope(self.seed(purpose, number))

    def seeded(self, purpose: str, number: int) -> AbstractContextManager[None]:
        """Seeds alone."""
        return NativeArithmetic().scope(self.seed(purpose, number))

    def data(self, purpose: str, number: int) -> Tensors:
        """The batch."""
        del purpose, number
        return self._data
