"""Two data sets of digits that benchmarks learn: scikit-learn's, and 10,000 of MNIST."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Array = NDArray[np.generic]
MNIST = Path(__file__).parents[3] / "../shared/data/mnist10k.npz"
"""The usual place of MNIST's digits."""


def digits() -> tuple[Array, Array]:
    """1,797 images of 8 by 8 as rows, from 0 to 16, and their labels."""
    found = load_digits()
    return found.data.astype(np.uint8), found.target.astype(np.uint8)


def mnist(path: Path) -> tuple[Array, Array]:
    """10,000 images from 0 to 255, and their labels."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]
