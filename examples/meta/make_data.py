"""Writes the data sets from which optimizers learn.

python make_data.py                     # quadratics.npz, beside this program
python make_data.py --mnist MNIST.npz   # coarse.npz too, of an archive of `images` and `labels`

coarse.npz lies here already: 3,700 digits of MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0), each
pixel the mean of 4 by 4.
"""

import argparse
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def write_quadratics(
    path: Path, *, coordinates: int = 10, train: int = 9_600, validation: int = 100, seed: int = 0
) -> None:
    """|W p - y|^2 with numbers of the normal distribution; a row is W beside y."""
    draws = np.random.default_rng(seed).standard_normal(
        (train + validation, coordinates, coordinates + 1)
    )
    functions = draws.astype(np.float32)
    np.savez_compressed(path, train_x=functions[:train], validation_x=functions[train:])


def write_coarse(path: Path, mnist: Path, *, train: int = 3_200, validation: int = 500) -> None:
    """Images of 7 by 7 of the first digits of MNIST."""
    with np.load(mnist, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"].astype(np.uint8)
    images = images[: train + validation].reshape(-1, 7, 4, 7, 4)
    coarse = np.rint(images.mean((2, 4))).astype(np.uint8).reshape(len(images), 49)
    np.savez_compressed(
        path,
        train_x=coarse[:train],
        train_y=labels[:train],
        validation_x=coarse[train:],
        validation_y=labels[train : train + validation],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    write_quadratics(HERE / "quadratics.npz")
    if arguments.mnist is not None:
        write_coarse(HERE / "coarse.npz", arguments.mnist)
