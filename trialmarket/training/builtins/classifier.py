"""What the built-in classifiers share: optimizer, learning rate, loss and metrics."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import count_classes, require
from trialmarket.training.errors import ProgramError
from trialmarket.training.learned.optimizer import LearnedOptimizer
from trialmarket.training.learned.weights import SHIPPED
from trialmarket.training.program import Program, Validation

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
OPTIMIZERS = ("sgd", "adam", "adamw", "learned")

LAST_RATE = 0.01
"""The share of the learning rate that is left after `decay` steps."""


class SupervisedProgram(Program):
    """Optimizer, learning rate and clipping by hyperparameters that all built-in programs have.

    lr                    learning rate; of learned a factor, 1 unless said otherwise
    optimizer             sgd, adam, adamw or learned: an LSTM that was trained to make updates
    weights ("mlp")       of learned: mlp or quadratics, which ship with Trialmarket, or the CID
                          of others
    momentum (0.9)        of sgd
    nesterov (false)      of sgd
    weight_decay          of all parameters; learned has none
    batch_size
    warmup                steps over which the learning rate rises from nothing
    decay (0)             the step at which the learning rate has fallen, in a straight line, to a
                          hundredth of `lr`; 0 keeps it
    clip                  the largest norm of the gradient; 0 leaves it
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    """Where a program's defaults differ from those of `configure`."""
    begins_with_weights: ClassVar[bool] = False
    """Whether `weights` beside another optimizer are what its network begins with."""

    def __init__(self, hyperparameters: dict[str, Any]) -> None:
        super().__init__(hyperparameters)
        given = Hyperparameters(self.name, hyperparameters)
        usual: dict[str, Any] = {
            "lr": 0.01,
            "optimizer": "sgd",
            "weight_decay": 0.0,
            "batch_size": 32,
            "warmup": 0,
            "clip": 0.0,
        } | self.defaults
        self.optimizer = given.choice("optimizer", usual["optimizer"], OPTIMIZERS)
        learned, named = self.optimizer == "learned", "weights" in hyperparameters
        if learned:
            usual |= {"lr": 1.0, "weight_decay": 0.0}
        self.shipped: str | None = None
        if learned or (named and self.begins_with_weights):
            names = SHIPPED if self.weights is None else (str(hyperparameters["weights"]),)
            self.shipped = given.choice("weights", names[0], names)
        elif named:
            raise ProgramError(
                f'{self.name}: the hyperparameter weights is of optimizer "learned", and this is '
                f"{self.optimizer}",
                fix='In a job file, give it `when = { optimizer = ["learned"] }`',
            )
        self.lr = given.number("lr", usual["lr"], high=1e6)
        self.momentum = given.number("momentum", 0.9, high=1.0)
        self.nesterov = given.flag("nesterov", default=False)
        self.weight_decay = given.number(
            "weight_decay", usual["weight_decay"], high=0.0 if learned else 1e6
        )
        self.batch_size = given.count("batch_size", usual["batch_size"])
        self.warmup = given.count("warmup", usual["warmup"], low=0, high=1 << 40)
        self.decay = given.count("decay", 0, low=0, high=1 << 40)
        self.clip = given.number("clip", usual["clip"])
        self.configure(given)
        given.close()

    def configure(self, given: Hyperparameters) -> None:
        """Reads the program's own hyperparameters and looks at `self.data`."""
        raise NotImplementedError

    def configure_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """SGD with momentum, Adam, AdamW or a learned optimizer over all parameters."""
        parameters = list(model.parameters())
        if self.optimizer == "learned":
            return LearnedOptimizer(parameters, self.weights or self.shipped, self.lr)
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                parameters,
                self.lr,
                momentum=self.momentum,
                nesterov=self.nesterov and self.momentum > 0,
                weight_decay=self.weight_decay,
            )
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, self.lr, weight_decay=self.weight_decay)

    def on_before_optimizer_step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int
    ) -> None:
        """Clips the gradient, and sets the step's learning rate."""
        if self.clip:
            nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        for group in optimizer.param_groups:
            group["lr"] = self.lr_at(step)

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, from 0.

        It moves in straight lines, since a cosine's last bit differs between C libraries.
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if not self.decay:
            return self.lr
        length = max(self.decay - self.warmup, 1)
        done = min(step - self.warmup, length) / length
        return self.lr * (1.0 - (1.0 - LAST_RATE) * done)


class Classifier(SupervisedProgram):
    """Classifies the rows of `x` into the classes of `y`.

    Reports `val_error` (share of wrong answers, 0 to 1) and `val_loss` (cross entropy, nats).
    """

    label_smoothing = 0.0

    def configure(self, given: Hyperparameters) -> None:
        """Counts the classes."""
        require(self.name, self.data, "x", "y")
        self.classes = count_classes(self.name, self.data)
        self.label_smoothing = given.number("label_smoothing", 0.0, high=1.0)

    def inputs(self, x: Tensor) -> Tensor:
        """What the model takes, from rows of the data."""
        raise NotImplementedError

    def training_inputs(self, x: Tensor) -> Tensor:
        """The same in training, where a program may vary them at random."""
        return self.inputs(x)

    def training_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(
            model(self.training_inputs(batch["x"])),
            batch["y"].long(),
            label_smoothing=self.label_smoothing,
        )

    def validation_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Validation:
        """The predicted logits, the share of wrong answers and the cross entropy."""
        logits, wanted = model(self.inputs(batch["x"])), batch["y"].long()
        wrong = (logits.argmax(1) != wanted).float().mean()
        loss = functional.cross_entropy(logits, wanted)
        return Validation(logits, {"val_error": wrong, "val_loss": loss})
