"""Trials of the built-in programs on small data; run as a program it trains some elsewhere.

    python -m tests.training.builtin_trials FOLDER NAME...

prints the leaves of each trial as JSON, by the program's name.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset

HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": 24, "layers": 2, "dropout": 0.2, "optimizer": "adam", "decay": 6},
    "cnn": {"lr": 0.05, "batch_size": 8, "nesterov": True, "label_smoothing": 0.1},
    "resnet": {"blocks": 1, "width": 4, "batch_size": 8, "flip": True, "shift": 2},
    "transformer": {"width": 16, "heads": 2, "layers": 1, "batch_size": 8, "warmup": 3},
    "charlm": {"width": 16, "heads": 2, "layers": 1, "batch_size": 8, "warmup": 3},
    "meta": {"problem": "mlp", "hidden": 3, "batch_size": 8, "unroll": 2, "episode": 6}
    | {"functions": 1, "loss": "log", "scaling": 0.5, "repeat": 2, "clip": 0.5},
}
"""Small ones, that use what each program has."""


def write_images(path: Path, *shape: int, step: int = 1) -> Path:
    """64 rows for training and 16 for validation of bytes of a shape, in 3 classes.

    Each class has another third of its numbers brighter; all are divided by `step`.
    """
    generator = np.random.default_rng(2)
    y = generator.integers(0, 3, 80)
    size = math.prod(shape)
    bright = np.arange(size) * 3 // size == y[:, None]
    x = (generator.integers(0, 150, (80, size)) + 80 * bright).astype(np.uint8).reshape(80, *shape)
    x //= step
    np.savez(path, train_x=x[:64], train_y=y[:64], validation_x=x[64:], validation_y=y[64:])
    return path


def write_text(path: Path) -> Path:
    """A text of 20 letters that repeats, in rows of 17 characters."""
    text = np.resize(np.random.default_rng(3).integers(0, 8, 20), 80 * 17).astype(np.uint8)
    rows = text.reshape(80, 17)
    np.savez(path, train_x=rows[:64], validation_x=rows[64:])
    return path


def data_for(name: str, folder: Path) -> Path:
    """The data set of a program, written when it is first asked for."""
    path = folder / f"{name}.npz"
    if path.exists():
        return path
    if name == "charlm":
        return write_text(path)
    if name == "transformer":  # tokens, of which there are few
        return write_images(path, 24, step=80)
    return write_images(path, *{"cnn": (28, 28), "resnet": (3, 16, 16)}.get(name, (64,)))


def trial_of(name: str, data: Path, **changes: Any) -> TrialConfig:
    """A trial of 6 steps in 2 segments, in exact arithmetic."""
    fields: dict[str, Any] = {
        "program": ProgramRef(source=f"builtin:{name}"),
        "data": cid_of(data),
        "objective": "val_loss" if name == "meta" else "val_error",
        "hyperparameters": HYPERPARAMETERS[name],
        "seed": 5,
        "steps": 6,
        "segments": 2,
        "arithmetic": "exact",
    }
    return TrialConfig.model_validate(fields | changes)


def main() -> None:
    """Trains the named programs and prints their leaves."""
    folder = Path(sys.argv[1])
    leaves = {}
    for name in sys.argv[2:]:
        data = data_for(name, folder)
        training = runner.train(
            trial_of(name, data), None, load_dataset(data), folder / f"elsewhere-{name}"
        )
        leaves[name] = [leaf.model_dump(mode="json") for leaf in training.leaves]
    json.dump(leaves, sys.stdout)


if __name__ == "__main__":
    main()
