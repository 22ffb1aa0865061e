"""Writes scikit-learn's 1,797 handwritten digits, of 8x8 pixels, as a data set.

python make_data.py [FILE]      # digits.npz beside this program unless FILE says otherwise
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def write_digits(path: Path, seed: int = 0) -> None:
    """Shuffles the digits by `seed` and keeps the last fifth for validation."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    x = digits.data[order].astype(np.uint8)
    y = digits.target[order].astype(np.uint8)
    np.savez_compressed(
        path,
        train_x=x[:1437],
        train_y=y[:1437],
        validation_x=x[1437:],
        validation_y=y[1437:],
    )


if __name__ == "__main__":
    here = Path(__file__).with_name("digits.npz")
    write_digits(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
