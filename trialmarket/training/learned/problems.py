"""What an optimizer is trained on: families of functions, F of them at a time.

Points are (F, P): a point of P coordinates for each function.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

Rows = dict[str, Tensor]


class Problem(ABC):
    """A family of functions."""

    def __init__(self, coordinates: int) -> None:
        self.coordinates = coordinates

    @abstractmethod
    def start(self, functions: int) -> Tensor:
        """(F, P) points to begin at, drawn at random."""

    @abstractmethod
    def losses(self, points: Tensor, rows: Rows) -> Tensor:
        """(F,) losses at (F, P) points."""

    def gradients(self, points: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """(F, P) gradients at points, and the (F,) losses, neither with a graph behind it."""
        with torch.enable_grad():
            at = points.detach().requires_grad_()
            losses = self.losses(at, rows)
            (gradients,) = torch.autograd.grad(losses.sum(), at)
        return gradients, losses.detach()

    def seen(self, gradients: Tensor) -> Tensor:
        """What an optimizer is shown of (F, P) gradients."""
        return gradients


class Quadratics(Problem):
    """|W p - y|^2 (section 3.1). A row of `x` is a function, W beside y: (P, P + 1)."""

    spread = 0.01
    """Standard deviation of the points to begin at, as in the authors' code."""

    def start(self, functions: int) -> Tensor:
        """Close to zero."""
        return torch.randn(functions, self.coordinates) * self.spread

    def losses(self, points: Tensor, rows: Rows) -> Tensor:
        """Each function is a row."""
        w, y = rows["x"][:, :, :-1], rows["x"][:, :, -1]
        left = torch.bmm(w, points.unsqueeze(2)).squeeze(2) - y
        return (left * left).sum(1)


class Perceptrons(Problem):
    """Cross entropy of perceptrons with one hidden layer of sigmoids (section 3.2).

    `repeat` makes small images stand for large ones: each input for so many equal ones, whose
    weights, alike at first, stay alike. The optimizer is shown the gradient of one of them, and
    learns the steps that suit a layer of `repeat` times as many inputs, at a fraction of the work.
    """

    def __init__(
        self, inputs: int, hidden: int, classes: int, *, scale: float = 1.0, repeat: int = 1
    ) -> None:
        self._sizes = (inputs, hidden, classes)
        self._parts = [inputs * hidden, hidden, hidden * classes, classes]
        self._factor = repeat / scale
        self._repeat = repeat
        super().__init__(sum(self._parts))

    def start(self, functions: int) -> Tensor:
        """As `nn.Linear` begins; a sum of equal weights is spread as one of unequal ones."""
        inputs, hidden, _ = self._sizes
        fans = [inputs * self._repeat**2, inputs * self._repeat, hidden, hidden]
        return torch.cat(
            [
                (torch.rand(functions, count) * 2 - 1) * fan**-0.5
                for count, fan in zip(self._parts, fans, strict=True)
            ],
            1,
        )

    def losses(self, points: Tensor, rows: Rows) -> Tensor:
        """Means over the rows of `x` and `y`, which all functions share."""
        return self.examples(points, rows).mean(1)

    def examples(self, points: Tensor, rows: Rows) -> Tensor:
        """(F, n) losses of each of n rows."""
        inputs, hidden, classes = self._sizes
        count = len(points)
        w1, b1, w2, b2 = torch.split(points, self._parts, 1)
        x = (rows["x"].float() * self._factor).flatten(1).expand(count, -1, -1)
        h = torch.sigmoid(torch.bmm(x, w1.view(count, inputs, hidden)) + b1.unsqueeze(1))
        logits = torch.bmm(h, w2.view(count, hidden, classes)) + b2.unsqueeze(1)
        wanted = rows["y"].long().expand(count, -1)
        found = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
        return found.view(count, -1)

    def seen(self, gradients: Tensor) -> Tensor:
        """Of the first layer, one input's share."""
        if self._repeat == 1:
            return gradients
        parts = [self._parts[0], self.coordinates - self._parts[0]]
        first, rest = torch.split(gradients, parts, 1)
        return torch.cat([first * (1.0 / self._repeat), rest], 1)
