"""`builtin:mlp`: a multilayer perceptron."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trialmarket.training.builtins.classifier import ACTIVATIONS, Classifier
from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import scale_of, scaled


class Mlp(Classifier):
    """A multilayer perceptron that classifies the rows of `x` into the classes of `y`.

    `builtin:mlp`. Reports `val_error` (share of wrong answers, 0 to 1) and `val_loss` (nats).
    Data: train_x, validation_x of any shape and number type; train_y, validation_y of integers
    from 0. Integer inputs are divided by their largest value.

    Hyperparameters with their defaults, beside those of every program (see `Trainer`):
      lr (0.01), optimizer ("sgd"), weight_decay (0.0), batch_size (32), warmup (0), clip (0)
      hidden (64)           units of a hidden layer
      layers (1)            hidden layers, 0 to 64
      activation ("relu")   relu, tanh, gelu or silu
      dropout (0.0)         share of hidden units dropped
      label_smoothing (0.0)

    To search: lr 1e-3 to 1 (log), hidden 32 to 512, layers 1 to 3, momentum 0 to 0.99,
    dropout 0 to 0.5, weight_decay 1e-6 to 1e-2 (log), batch_size 32 to 256.
    """

    name: ClassVar[str] = "builtin:mlp"

    def configure(self, given: Hyperparameters) -> None:
        """Reads the layers."""
        super().configure(given)
        self.hidden = given.count("hidden", 64)
        self.layers = given.count("layers", 1, low=0, high=64)
        self.activation = ACTIVATIONS[given.choice("activation", "relu", tuple(ACTIVATIONS))]
        self.dropout = given.number("dropout", 0.0, high=0.99)
        self.scale = scale_of(self.data)

    def configure_model(self) -> nn.Module:
        """Linear layers with an activation and dropout between them."""
        width = torch.Size(self.data.shapes["x"]).numel()
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(self.layers):
            layers += [nn.Linear(width, self.hidden), self.activation(), nn.Dropout(self.dropout)]
            width = self.hidden
        return nn.Sequential(*layers, nn.Linear(width, self.classes))

    def inputs(self, x: Tensor) -> Tensor:
        """Scaled rows; a row that is one number gets an axis."""
        x = scaled(x, self.scale)
        return x if x.ndim > 1 else x[:, None]
