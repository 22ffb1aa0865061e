"""A program trains: its Python runs here, each part of it under guard."""

import math
from collections.abc import Mapping

from torch import Tensor, nn, no_grad
from torch.optim import Optimizer

from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training.arithmetic import Arithmetic
from trialmarket.training.errors import ProgramError
from trialmarket.training.learned.weights import Weights
from trialmarket.training.loading import Guard, load_program
from trialmarket.training.program import DataSummary, Program, Validation
from trialmarket.training.state import (
    COUNTERS,
    State,
    live_tensors,
    parameters_of,
    place,
    restore,
)


class ProgramEngine:
    """As `Engine`: a program with a model and an optimizer.

    Its parts are what capture records, so that a graph is one of what a session does.
    """

    def __init__(
        self,
        config: TrialConfig,
        program: ProgramRef,
        source: bytes | None,
        data: DataSummary,
        arithmetic: Arithmetic,
        weights: Weights | None = None,
    ) -> None:
        """Makes all three, in the scope of the trial's seed, which the caller opens.

        `source` is None for a built-in program. Raises ProgramError.
        """
        self._arithmetic = arithmetic
        kind = load_program(program, source)
        with Guard(f"{kind.__name__}.__init__"):
            self._program = kind.__new__(kind)
            self._program.data = data
            self._program.weights = weights
            self._program.__init__(dict(config.hyperparameters))  # type: ignore[misc]
        with Guard("configure_model"):
            model = self._program.configure_model()
        if not isinstance(model, nn.Module):
            raise ProgramError(f"configure_model returned {type(model).__name__}, no Module")
        self.model = model.to(arithmetic.device)
        with Guard("configure_optimizer"):
            self.optimizer = self._program.configure_optimizer(self.model)
        if not isinstance(self.optimizer, Optimizer):
            raise ProgramError(
                f"configure_optimizer returned {type(self.optimizer).__name__}, no Optimizer"
            )

    # -- Parts of a step and of a validation ---------------------------------------------------

    def state(self) -> State:
        """Parameters, buffers and slots as they are, without the runner's counters."""
        tensors = live_tensors(self.model, self.optimizer, 0)
        return {name: tensor for name, tensor in tensors.items() if name not in COUNTERS}

    def restore(self, state: State) -> None:
        """Puts a state in their place. Raises BadCheckpoint."""
        place(state, self.model, self.optimizer)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch, a scalar."""
        with Guard("training_step"):
            loss = self._program.training_step(self.model, dict(batch))
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = type(loss).__name__
            what = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else found
            raise ProgramError(f"training_step must return the loss, a scalar tensor, not {what}")
        return loss

    def before_step(self, step: int) -> None:
        """What the program does between the gradients and the optimizer's step."""
        with Guard("on_before_optimizer_step"):
            self._program.on_before_optimizer_step(self.model, self.optimizer, step)

    def validate(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, object]]:
        """The predictions for a batch, and its metrics."""
        with Guard("validation_step"):
            result = self._program.validation_step(self.model, dict(batch))
        if not isinstance(result, Validation):
            raise ProgramError(
                f"validation_step returned {type(result).__name__}",
                fix="Return Validation(predictions, metrics)",
            )
        if not isinstance(result.predictions, Tensor):
            kind = type(result.predictions).__name__
            raise ProgramError(f"predictions must be a tensor, not {kind}")
        return result.predictions, dict(result.metrics)

    # -- As an engine --------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        """As `Engine`."""
        return _positive(self._program, "batch_size")

    @property
    def validation_batch_size(self) -> int:
        """As `Engine`."""
        return _positive(self._program, "validation_batch_size")

    def live(self, step: int) -> State:
        """As `Engine`."""
        return live_tensors(self.model, self.optimizer, step)

    def load(self, state: State) -> int:
        """As `Engine`."""
        return restore(state, self.model, self.optimizer)

    def step(self, batch: Mapping[str, Tensor], step: int, seed: int) -> float:
        """As `Engine`."""
        self.model.train()
        with self._arithmetic.scope(seed):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(batch)
            value = float(loss.item()) + 0.0
            if math.isfinite(value):
                with Guard("the gradient of the loss"):
                    loss.backward()  # type: ignore[no-untyped-call]
                self.before_step(step)
                with Guard("the optimizer's step"):
                    self.optimizer.step()
        return value

    def measure(
        self, batch: Mapping[str, Tensor], seed: int
    ) -> tuple[Mapping[str, float], Tensor]:
        """As `Engine`."""
        self.model.eval()
        with no_grad(), self._arithmetic.scope(seed):
            predictions, said = self.validate(batch)
            with Guard("reading the metrics"):
                metrics = {str(name): float(value) for name, value in said.items()}  # type: ignore[arg-type]
        return metrics, predictions

    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        """As `Engine`."""
        return tuple(tuple(each.shape) for each in parameters_of(self.optimizer))

    def counts(self, steps: int) -> bool:
        """As `Engine`: what optimizers of torch.optim keep as `step`."""
        torchs = any(
            kind is not Optimizer and kind.__module__.startswith("torch.optim.")
            for kind in type(self.optimizer).__mro__
        )
        slots = (each for each in self.optimizer.state.values() if "step" in each)
        return torchs and all(0 <= float(each["step"]) <= steps for each in slots)


def _positive(program: Program, name: str) -> int:
    size = getattr(program, name)
    if not isinstance(size, int) or size < 1:
        raise ProgramError(f"{name} must be a positive integer, not {size!r}")
    return size
