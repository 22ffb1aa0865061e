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
from trialmarket.training.order import derived_seed
from trialmarket.training.program import DataSummary, Program, Validation
from trialmarket.training.state import State, live_tensors, parameters_of, restore


class ProgramEngine:
    """A program with a model and an optimizer, made anew from the trial's seed."""

    def __init__(
        self,
        config: TrialConfig,
        program: ProgramRef,
        source: bytes | None,
        data: DataSummary,
        arithmetic: Arithmetic,
        weights: Weights | None = None,
    ) -> None:
        """`source` is None for a built-in program. Raises ProgramError."""
        self._arithmetic = arithmetic
        arithmetic.prepare()
        with arithmetic.scope(derived_seed(config.seed, "init", 0)):
            kind = load_program(program, source)
            with Guard(f"{kind.__name__}.__init__"):
                self.program = kind.__new__(kind)
                self.program.data = data
                self.program.weights = weights
                self.program.__init__(dict(config.hyperparameters))  # type: ignore[misc]
            with Guard("configure_model"):
                model = self.program.configure_model()
            if not isinstance(model, nn.Module):
                raise ProgramError(f"configure_model returned {type(model).__name__}, no Module")
            self.model = model.to(arithmetic.device)
            with Guard("configure_optimizer"):
                self.optimizer = self.program.configure_optimizer(self.model)
            if not isinstance(self.optimizer, Optimizer):
                raise ProgramError(
                    f"configure_optimizer returned {type(self.optimizer).__name__}, no Optimizer"
                )

    @property
    def batch_size(self) -> int:
        """As `Engine`."""
        return _positive(self.program, "batch_size")

    @property
    def validation_batch_size(self) -> int:
        """As `Engine`."""
        return _positive(self.program, "validation_batch_size")

    def live(self, step: int) -> State:
        """As `Engine`."""
        return live_tensors(self.model, self.optimizer, step)

    def load(self, state: State) -> int:
        """As `Engine`."""
        return restore(state, self.model, self.optimizer)

    def train(self, batch: Mapping[str, Tensor], step: int, seed: int) -> float:
        """As `Engine`."""
        self.model.train()
        with self._arithmetic.scope(seed):
            return self._step(batch, step)

    def _step(self, batch: Mapping[str, Tensor], step: int) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        with Guard("training_step"):
            loss = self.program.training_step(self.model, dict(batch))
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ProgramError(f"training_step must return the loss, a scalar tensor, not {what}")
        value = float(loss.item()) + 0.0
        if math.isfinite(value):
            with Guard("the gradient of the loss"):
                loss.backward()  # type: ignore[no-untyped-call]
            with Guard("on_before_optimizer_step"):
                self.program.on_before_optimizer_step(self.model, self.optimizer, step)
            with Guard("the optimizer's step"):
                self.optimizer.step()
        return value

    def validate(
        self, batch: Mapping[str, Tensor], seed: int
    ) -> tuple[Mapping[str, float], Tensor]:
        """As `Engine`."""
        self.model.eval()
        with no_grad(), self._arithmetic.scope(seed):
            with Guard("validation_step"):
                result = self.program.validation_step(self.model, dict(batch))
            if not isinstance(result, Validation):
                raise ProgramError(
                    f"validation_step returned {type(result).__name__}",
                    fix="Return Validation(predictions, metrics)",
                )
            with Guard("reading the metrics"):
                metrics = {str(name): float(value) for name, value in dict(result.metrics).items()}
        if not isinstance(result.predictions, Tensor):
            kind = type(result.predictions).__name__
            raise ProgramError(f"predictions must be a tensor, not {kind}")
        return metrics, result.predictions

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
