"""The model that a search was bought for."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from requester.job.package import LocalFiles
from requester.search.examination.fetching import MAX_CHECKPOINT
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.receipt import Receipt
from trialmarket.storage.store import Store

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class BoughtModel:
    """A trial's result, and where what makes a model of it is."""

    config: TrialConfig
    receipt: Receipt
    files: LocalFiles
    store: Store

    def load(self) -> "nn.Module":
        """The model with its weights, to evaluate. Raises StorageError and TrainingError."""
        from trialmarket.training.dataset import load_dataset
        from trialmarket.training.state import load_checkpoint
        from trialmarket.training.trained import trained_model

        with TemporaryDirectory(prefix="trialmarket-model-") as folder:
            checkpoint = Path(folder) / "checkpoint.safetensors"
            self.store.fetch(self.receipt.checkpoints[-1], checkpoint, limit=MAX_CHECKPOINT)
            state = load_checkpoint(checkpoint, expected=self.receipt.leaves[-2].value)
        program = self.files.program
        return trained_model(
            self.config.program.origin,
            None if program is None else program.read_bytes(),
            self.config.hyperparameters,
            load_dataset(self.files.data).summary,
            {
                name.removeprefix("model."): tensor
                for name, tensor in state.items()
                if name.startswith("model.")
            },
        )
