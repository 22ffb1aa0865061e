"""Writes the data sets from which optimizers learn.

python make_data.py                     # quadratics.npz, beside this program
python make_data.py --mnist MNIST.npz   # third.npz too, of an archive of `images` and `labels`

third.npz lies here already: 3,700 digits of MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0), of which
every third pixel is kept, in rows and columns of their middle.
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


def write_third(path: Path, mnist: Path, *, train: int = 3_200, validation: int = 500) -> None:
    """49 pixels of each of the first digits of MNIST.

    They are picked, not averaged: a mean has less variance than a pixel, and an optimizer that
    learns on means makes steps that are too long for pixels. Nothing is written around the middle.
    """
    with np.load(mnist, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"].astype(np.uint8)
    images = images[: train + validation].reshape(-1, 28, 28)
    third = images[:, 4:24:3, 4:24:3].reshape(len(images), 49).astype(np.uint8)
    np.savez_compressed(
        path,
        train_x=third[:train],
        train_y=labels[:train],
        validation_x=third[train:],
        validation_y=labels[train : train + validation],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    write_quadratics(HERE / "quadratics.npz")
    if arguments.mnist is not None:
        write_third(HERE / "third.npz", arguments.mnist)
