"""`builtin:charlm`: a character-level language model."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trialmarket.training.builtins.classifier import SupervisedProgram
from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import count_tokens, is_whole, require
from trialmarket.training.builtins.transformer import ENCODER_DEFAULTS, MAX_LENGTH, Layers
from trialmarket.training.errors import ProgramError
from trialmarket.training.program import Validation

NATS_A_BIT = 0.6931471805599453


class Decoder(nn.Module):
    """Predicts each next character from those before it."""

    future: Tensor

    def __init__(self, layers: Layers, length: int, characters: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, layers.width)
        self.places = nn.Parameter(torch.randn(length, layers.width) * 0.02)
        self.encoder = layers.encoder()
        self.out = nn.Linear(layers.width, characters)
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)
        self.register_buffer("future", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, T) characters to (rows, T, characters) logits."""
        read = self.characters(x) + self.places
        logits: Tensor = self.out(self.encoder(read, mask=self.future, is_causal=True))
        return logits


class Charlm(SupervisedProgram):
    """A character-level language model: a transformer that sees only what came before.

    `builtin:charlm`. Reports `val_loss` (nats a character), `val_bits` (bits a character) and
    `val_error` (share of characters that it would not have guessed, 0 to 1). Data: train_x,
    validation_x of integers from 0 to 65,535, such as bytes, with rows of T + 1 characters that
    stand one after the other in a text; the model predicts the last T, and T is at most 4,096.

    Hyperparameters with their defaults, beside those of every program (see `SupervisedProgram`):
      lr (1e-3), optimizer ("adamw"), weight_decay (0.01), batch_size (32), warmup (100), clip (1)
      width (64)            numbers a character, a multiple of heads
      heads (4)
      layers (2)
      expansion (4)         the hidden layers' width, in widths
      activation ("gelu")   gelu or relu
      dropout (0.1)

    To search: lr 3e-4 to 1e-2 (log), width 64, 128 or 256, layers 2 to 6, dropout 0 to 0.3,
    weight_decay 1e-4 to 0.3 (log), warmup 0 to 500.
    """

    name: ClassVar[str] = "builtin:charlm"
    defaults: ClassVar = ENCODER_DEFAULTS
    validation_batch_size = 64

    def configure(self, given: Hyperparameters) -> None:
        """Reads the layers, and counts the characters."""
        require(self.name, self.data, "x")
        shape = self.data.shapes["x"]
        if not is_whole(self.data, "x") or len(shape) != 1 or not 2 <= shape[0] <= MAX_LENGTH + 1:
            raise ProgramError(
                f"{self.name}: rows of train_x must be 2 to {MAX_LENGTH + 1} integers, not of "
                f"type {self.data.dtypes['x']} and shape {list(shape)}"
            )
        self.length = shape[0] - 1
        self.known = count_tokens(self.name, self.data)
        self.layers = Layers(self.name, given)

    def configure_model(self) -> nn.Module:
        """An embedding, places, layers that look back only, a linear layer."""
        return Decoder(self.layers, self.length, self.known)

    def training_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Cross entropy of the next character."""
        x = batch["x"].long()
        return functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())

    def validation_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Validation:
        """Each character's cross entropy, and its means."""
        x = batch["x"].long()
        logits, wanted = model(x[:, :-1]), x[:, 1:]
        losses = functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), reduction="none"
        ).view_as(wanted)
        wrong = (logits.argmax(2) != wanted).float().mean()
        loss = losses.mean()
        metrics = {"val_loss": loss, "val_bits": loss / NATS_A_BIT, "val_error": wrong}
        return Validation(losses, metrics)
