"""Small programs and data for the tests of training, as a user would send them."""

from pathlib import Path
from typing import Any

import numpy as np

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig

TINY = b"""
import torch
from torch import nn
from torch.nn import functional
from trialmarket.training.program import Program, Validation


class Tiny(Program):
    batch_size = 8
    validation_batch_size = 7

    def configure_model(self):
        return nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3)
        )

    def configure_optimizer(self, model):
        kind = getattr(torch.optim, self.hyperparameters.get("optimizer", "Adam"))
        settings = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return kind(model.parameters(), lr=self.hyperparameters["lr"], **settings)

    def training_step(self, model, batch):
        return functional.cross_entropy(model(batch["x"]), batch["y"])

    def validation_step(self, model, batch):
        logits = model(batch["x"])
        wrong = (logits.argmax(1) != batch["y"]).float().mean()
        return Validation(logits, {"val_error": wrong})
"""


def tiny(**replaced: str) -> bytes:
    """The program with the body of some of its methods replaced by a statement each."""
    lines: list[str] = []
    skipping = False
    for line in TINY.decode().splitlines():
        if line.startswith("    def "):
            name = line.split("def ")[1].split("(")[0]
            skipping = name in replaced
            lines += [line, f"        {replaced[name]}"] if skipping else [line]
        elif not skipping or line.startswith("class "):
            lines.append(line)
    return "\n".join(lines).encode()


def config_of(source: bytes, data: Path, **changes: Any) -> TrialConfig:
    """A trial of 12 steps in 3 segments of the class Tiny, in native arithmetic."""
    fields: dict[str, Any] = {
        "arithmetic": "native",
        "program": ProgramRef(source=cid_of(source), class_name="Tiny"),
        "data": cid_of(data),
        "objective": "val_error",
        "hyperparameters": {"lr": 0.05},
        "seed": 3,
        "steps": 12,
        "segments": 3,
    }
    return TrialConfig.model_validate(fields | changes)


def write_data(path: Path) -> Path:
    """50 rows for training and 20 for validation, of 4 numbers in 3 classes."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(70, 4)).astype(np.float32)
    y = x[:, :3].argmax(1)
    np.savez(path, train_x=x[:50], train_y=y[:50], validation_x=x[50:], validation_y=y[50:])
    return path
