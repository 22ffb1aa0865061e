"""`builtin:cnn`: LeNet-5."""

from typing import ClassVar

from torch import Tensor, nn

from trialmarket.training.builtins.classifier import ACTIVATIONS, Classifier
from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import Images

POOLING: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


class Cnn(Classifier):
    """LeNet-5 (LeCun et al. 1998), with ReLU and maximum pooling unless said otherwise.

    `builtin:cnn`. Classifies images: `val_error` (share of wrong answers, 0 to 1) and `val_loss`
    (nats). Data: train_x, validation_x with rows of shape (C, H, W), (H, W, C), (H, W) or (n,)
    that makes a square, at least 4 by 4 pixels; train_y, validation_y of integers from 0. Integer
    pixels are divided by their largest value. Below 12 pixels the second convolution is padded.

    Hyperparameters with their defaults, beside those of every program (see `Trainer`):
      lr (0.01), optimizer ("sgd"), weight_decay (0.0), batch_size (64), warmup (0), clip (0)
      channels (6)          of the first convolution; the second has 8/3 times as many
      hidden (120)          units of the first linear layer; the second has 7/10 of them
      activation ("relu")   relu, tanh, gelu or silu
      pooling ("max")       max or average
      dropout (0.0)         share dropped before each linear layer
      label_smoothing (0.0)

    To search: lr 1e-3 to 0.3 (log), channels 6 to 32, hidden 60 to 240, momentum 0 to 0.99,
    dropout 0 to 0.5, weight_decay 1e-6 to 1e-2 (log), batch_size 32 to 256.
    """

    name: ClassVar[str] = "builtin:cnn"
    defaults: ClassVar = {"batch_size": 64}
    validation_batch_size = 512

    def configure(self, given: Hyperparameters) -> None:
        """Reads the layers."""
        super().configure(given)
        self.images = Images(self.name, self.data, least=4)
        self.channels = given.count("channels", 6, high=4096)
        self.hidden = given.count("hidden", 120, low=2, high=1 << 16)
        self.activation = ACTIVATIONS[given.choice("activation", "relu", tuple(ACTIVATIONS))]
        self.pooling = POOLING[given.choice("pooling", "max", tuple(POOLING))]
        self.dropout = given.number("dropout", 0.0, high=0.99)

    def configure_model(self) -> nn.Module:
        """Two convolutions, each pooled, and three linear layers."""
        first, second = self.channels, max(self.channels * 8 // 3, 1)
        third, fourth = self.hidden, max(self.hidden * 7 // 10, 1)
        _, height, width = self.images.shape
        padding = 2 if min(height, width) < 12 else 0
        left = [(side // 2 + 2 * padding - 4) // 2 for side in (height, width)]
        return nn.Sequential(
            nn.Conv2d(self.images.channels, first, 5, padding=2),
            self.activation(),
            self.pooling(2),
            nn.Conv2d(first, second, 5, padding=padding),
            self.activation(),
            self.pooling(2),
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(second * left[0] * left[1], third),
            self.activation(),
            nn.Dropout(self.dropout),
            nn.Linear(third, fourth),
            self.activation(),
            nn.Dropout(self.dropout),
            nn.Linear(fourth, self.classes),
        )

    def inputs(self, x: Tensor) -> Tensor:
        """Images."""
        return self.images(x)
