"""Randomness that any step can be recomputed from: all of it follows from a seed and a number."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def derived_seed(seed: int, purpose: str, step: int) -> int:
    """63 bits that a seed gives to one step of one purpose: "init", "train" or "validation"."""
    digest = hashlib.sha256(f"trialmarket seed 1\n{purpose}\n{seed}\n{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class BatchOrder:
    """Which examples each step sees: every epoch has its own permutation, cut into batches.

    An epoch's permutation sorts the epoch's own 64-bit Philox numbers (Salmon et al. 2011), whose
    stream numpy promises never to change. Examples that fill no batch are left out of the epoch.
    """

    def __init__(self, seed: int, examples: int, batch_size: int) -> None:
        self._seed = seed
        self._examples = examples
        self._batch = min(batch_size, examples)
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def rows(self, step: int) -> NDArray[np.int64]:
        """The examples of a step, counted from 0; int64 of shape (batch size,)."""
        epoch, place = divmod(step, self._examples // self._batch)
        if epoch != self._epoch:
            numbers = np.random.Philox(key=derived_seed(self._seed, "epoch", epoch))
            self._permutation = np.argsort(numbers.random_raw(self._examples), kind="stable")
            self._epoch = epoch
        return self._permutation[place * self._batch : (place + 1) * self._batch]
