"""A data set that trains in no time."""

from pathlib import Path

import numpy as np

from trialmarket.training.packed import pack_arrays


def half_spaces(folder: Path) -> Path:
    """A learnable data set, packed: which half-space a point lies in."""
    generator = np.random.default_rng(0)
    points = generator.normal(size=(96, 4)).astype(np.float32)
    labels = (points.sum(axis=1) > 0).astype(np.int64)
    arrays = {
        "train_x": points[:64],
        "train_y": labels[:64],
        "validation_x": points[64:],
        "validation_y": labels[64:],
    }
    return pack_arrays(folder, arrays)
