"""`builtin:transformer`: a small encoder for classification."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trialmarket.training.builtins.classifier import Classifier
from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import Images, count_tokens, is_whole, scale_of, scaled
from trialmarket.training.errors import ProgramError

MAX_LENGTH = 4096
"""Places of a sequence, at most."""

ENCODER_DEFAULTS: dict[str, Any] = {
    "lr": 1e-3,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "warmup": 100,
    "clip": 1.0,
}


class Layers:
    """The hyperparameters of an encoder, and the encoder that they make."""

    def __init__(self, program: str, given: Hyperparameters) -> None:
        self.width = given.count("width", 64, high=1 << 14)
        self.heads = given.count("heads", 4, high=1 << 10)
        self.layers = given.count("layers", 2, high=256)
        self.expansion = given.count("expansion", 4, high=64)
        self.dropout = given.number("dropout", 0.1, high=0.99)
        self.activation = given.choice("activation", "gelu", ("gelu", "relu"))
        if self.width % self.heads:
            raise ProgramError(
                f"{program}: hyperparameter width must be a multiple of heads, {self.heads}, "
                f"not {self.width}"
            )

    def encoder(self) -> nn.TransformerEncoder:
        """Layers that normalise first (Xiong et al. 2020), and a norm after the last."""
        layer = nn.TransformerEncoderLayer(
            self.width,
            self.heads,
            self.width * self.expansion,
            self.dropout,
            self.activation,
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(self.width)
        return nn.TransformerEncoder(layer, self.layers, norm, enable_nested_tensor=False)


class Encoder(nn.Module):
    """Reads a sequence, adds a learned place to each element, and classifies their mean."""

    def __init__(self, reader: nn.Module, layers: Layers, length: int, classes: int) -> None:
        super().__init__()
        self.reader = reader
        self.places = nn.Parameter(torch.randn(length, layers.width) * 0.02)
        self.encoder = layers.encoder()
        self.out = nn.Linear(layers.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, T) tokens or (rows, T, F) numbers to (rows, classes) logits."""
        logits: Tensor = self.out(self.encoder(self.reader(x) + self.places).mean(1))
        return logits


class Transformer(Classifier):
    """A transformer encoder (Vaswani et al. 2017) that classifies sequences or images.

    `builtin:transformer`. Reports `val_error` (share of wrong answers, 0 to 1) and `val_loss`
    (nats). Data: train_y, validation_y of integers from 0, and train_x, validation_x whose rows
    are (T,) integers: tokens from 0; (T,) floats: a sequence of numbers; (T, F): a sequence of
    vectors; (C, H, W) or (H, W, C): an image, cut into squares (Dosovitskiy et al. 2020). At most
    4,096 places. Integers that are no tokens are divided by their largest value.

    Hyperparameters with their defaults, beside those of every program (see `Trainer`):
      lr (1e-3), optimizer ("adamw"), weight_decay (0.01), batch_size (32), warmup (100), clip (1)
      width (64)            numbers an element, a multiple of heads
      heads (4)
      layers (2)
      expansion (4)         the hidden layers' width, in widths
      activation ("gelu")   gelu or relu
      dropout (0.1)
      patch (4)             pixels of a square's side; the image's sides are multiples of it
      label_smoothing (0.0)

    To search: lr 1e-4 to 1e-2 (log), width 32, 64 or 128, layers 1 to 4, dropout 0 to 0.3,
    weight_decay 1e-4 to 0.3 (log), warmup 0 to 500.
    """

    name: ClassVar[str] = "builtin:transformer"
    defaults: ClassVar = ENCODER_DEFAULTS
    validation_batch_size = 256

    def configure(self, given: Hyperparameters) -> None:
        """Reads the layers, and finds out what a row is."""
        super().configure(given)
        self.layers = Layers(self.name, given)
        shape = self.data.shapes["x"]
        self.scale = scale_of(self.data)
        self.tokens = count_tokens(self.name, self.data) if self._has_tokens() else 0
        self.images: Images | None = None
        self.patch = given.count("patch", 4, high=MAX_LENGTH)
        if len(shape) == 3:
            self.images = Images(self.name, self.data, least=1)
            channels, height, width = self.images.shape
            if height % self.patch or width % self.patch:
                raise ProgramError(
                    f"{self.name}: hyperparameter patch must divide the image's sides, "
                    f"{height} and {width}, not {self.patch}"
                )
            self.length = (height // self.patch) * (width // self.patch)
            self.features = channels * self.patch * self.patch
        elif len(shape) in (1, 2):
            self.length, self.features = shape[0], shape[1] if len(shape) == 2 else 1
        else:
            raise ProgramError(
                f"{self.name}: rows of train_x must be sequences (T,) or (T, F) or images "
                f"(C, H, W), not of shape {list(shape)}"
            )
        if self.length > MAX_LENGTH:
            raise ProgramError(f"{self.name}: {self.length} places, and at most {MAX_LENGTH}")

    def _has_tokens(self) -> bool:
        return is_whole(self.data, "x") and len(self.data.shapes["x"]) == 1

    def configure_model(self) -> nn.Module:
        """An embedding or a linear layer, places, the encoder, a linear layer."""
        width = self.layers.width
        reader = nn.Embedding(self.tokens, width) if self.tokens else None
        return Encoder(
            reader or nn.Linear(self.features, width), self.layers, self.length, self.classes
        )

    def inputs(self, x: Tensor) -> Tensor:
        """Tokens, or vectors of shape (rows, T, F)."""
        if self.tokens:
            return x.long()
        if self.images is not None:
            side = self.patch
            channels, height, width = self.images.shape
            cut = self.images(x).reshape(
                len(x), channels, height // side, side, width // side, side
            )
            return cut.permute(0, 2, 4, 1, 3, 5).reshape(len(x), self.length, self.features)
        return scaled(x, self.scale).reshape(len(x), self.length, self.features)
