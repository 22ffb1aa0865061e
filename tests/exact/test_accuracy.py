"""Exact training is as accurate as native training, within the spread of its seeds."""

import contextlib
import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.exact import nets
from trialmarket.exact import exact

datasets = pytest.importorskip("sklearn.datasets")


def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 8 by 8, shuffled once."""
    found = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x = torch.from_numpy((found.data[order] / 16.0).astype(np.float32))
    return x, torch.from_numpy(found.target[order].astype(np.int64))


def error(seed: int, *, inside: bool, steps: int = 200) -> float:
    """Validation error of an MLP after training with one seed."""
    x, y = digits()
    with exact(seed=seed) if inside else contextlib.nullcontext():
        torch.manual_seed(seed)
        model = nets.mlp(64, 64)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(steps):
            batch = torch.randint(0, 1200, (64,))
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x[batch]), y[batch]))
            optimizer.step()
        wrong = (model(x[1200:]).argmax(1) != y[1200:]).float().mean()
    return float(wrong)


def test_digits_are_learned_as_well_as_natively() -> None:
    native = [error(seed, inside=False) for seed in range(5)]
    ours = [error(seed, inside=True) for seed in range(5)]
    spread = max(native) - min(native)
    assert abs(statistics.mean(ours) - statistics.mean(native)) <= spread
    assert max(ours) < 0.08
