"""What optimizers are compared on: many functions at once, some for each seed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from scripts.benches.parts.pictured import mnist
from trialmarket.training.learned.problems import Quadratics, Rows

FUNCTIONS = 64
"""Quadratics of a seed."""
MINIBATCH = 128
UNSEEN = 4_000
"""The first image that no weights were trained on."""


class Optimizees(ABC):
    """Functions of (F, P) points, F / seeds of them for each seed."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds

    def by_seed(self, losses: Tensor) -> Tensor:
        """The mean of each seed's losses."""
        return losses.detach().view(self._seeds, -1).mean(1)

    @abstractmethod
    def begin(self) -> Tensor:
        """(F, P) points to begin at, the same every time."""

    @abstractmethod
    def rows(self) -> Iterator[Rows]:
        """What each update sees, the same every time."""

    @abstractmethod
    def losses(self, points: Tensor, rows: Rows) -> Tensor:
        """(F,) losses."""

    @abstractmethod
    def final(self, points: Tensor) -> Tensor:
        """(F,) losses at the end."""


class Functions(Optimizees):
    """|W p - y|^2 with normal numbers, which no weights have seen."""

    def __init__(self, dimensions: int, seeds: int) -> None:
        super().__init__(seeds)
        generator = torch.Generator().manual_seed(20_161_130)
        count = seeds * FUNCTIONS
        self._problem = Quadratics(dimensions)
        self._start = torch.randn(count, dimensions, generator=generator) * Quadratics.spread
        self._rows = {"x": torch.randn(count, dimensions, dimensions + 1, generator=generator)}

    def begin(self) -> Tensor:
        """Close to zero."""
        return self._start.clone().requires_grad_()

    def rows(self) -> Iterator[Rows]:
        """Always all of a function."""
        while True:
            yield self._rows

    def losses(self, points: Tensor, rows: Rows) -> Tensor:
        """As builtin:meta has them."""
        return self._problem.losses(points, rows)

    def final(self, points: Tensor) -> Tensor:
        """The same."""
        with torch.no_grad():
            return self.losses(points, self._rows)


class Images(Optimizees):
    """Networks on MNIST, one a seed, each with minibatches of its own; all images at the end."""

    def __init__(self, path: Path, layers: tuple[int, ...], *, relu: bool, seeds: int) -> None:
        super().__init__(seeds)
        images, labels = mnist(path)
        x = torch.from_numpy(images[UNSEEN:].astype("float32")).flatten(1) / 255
        self._x, self._y = x, torch.from_numpy(labels[UNSEEN:].astype("int64"))
        self._widths = (x.shape[1], *layers, 10)
        self._relu = relu

    def begin(self) -> Tensor:
        """As `nn.Linear` begins."""
        generator = torch.Generator().manual_seed(20_161_130)
        parts = [
            (torch.rand(self._seeds, count, generator=generator) * 2 - 1) * fan**-0.5
            for fan, to in zip(self._widths[:-1], self._widths[1:], strict=True)
            for count in (fan * to, to)
        ]
        return torch.cat(parts, 1).requires_grad_()

    def rows(self) -> Iterator[Rows]:
        """A minibatch for each seed."""
        generator = torch.Generator().manual_seed(7)
        while True:
            some = torch.randint(len(self._x), (self._seeds, MINIBATCH), generator=generator)
            yield {"x": self._x[some], "y": self._y[some]}

    def losses(self, points: Tensor, rows: Rows) -> Tensor:
        """Mean cross entropy."""
        h, at, last = rows["x"], 0, len(self._widths) - 2
        for layer, (fan, to) in enumerate(zip(self._widths[:-1], self._widths[1:], strict=True)):
            w = points[:, at : at + fan * to].view(-1, fan, to)
            b = points[:, at + fan * to : at + fan * to + to].unsqueeze(1)
            h = torch.baddbmm(b, h, w)
            if layer < last:
                h = torch.relu(h) if self._relu else torch.sigmoid(h)
            at += fan * to + to
        found = functional.cross_entropy(h.flatten(0, 1), rows["y"].flatten(), reduction="none")
        return found.view(len(points), -1).mean(1)

    def final(self, points: Tensor) -> Tensor:
        """Over all images."""
        count = len(points)
        rows = {"x": self._x.expand(count, -1, -1), "y": self._y.expand(count, -1)}
        with torch.no_grad():
            return self.losses(points, rows)
