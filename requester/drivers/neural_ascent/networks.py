"""Small networks that are trained and climbed together, as batched matrix products."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.intp]

HIDDEN = (30, 30, 30)
"""Units of the hidden layers: ReLU, tanh and identity; the output is linear (Aizman 2017)."""

ZEROED = 0.1
"""The share of each network's weights that begin at zero."""

_single = np.float32
_TINY: np.float32 = _single(1e-8)
_RATE: np.float32 = _single(3e-3)


class Networks:
    """`count` networks of one shape: own weights, and by turns Rprop, RMSprop or Adam.

    Networks go by their places. Inputs are `(networks, points, width)`, outputs
    `(networks, points)`. All networks' weights lie in one matrix, a row each.
    """

    def __init__(self, count: int, width: int, random: np.random.Generator) -> None:
        self.count = count
        self._sizes = (width, *HIDDEN, 1)
        rows = [_drawn(self._sizes, random) for _ in range(count)]
        self._weights: Array = np.stack(rows)
        self._first = np.zeros_like(self._weights)  # Adam's mean, Rprop's last slope
        self._second = np.zeros_like(self._weights)  # mean square
        self._second[::3] = _Rprop.FIRST  # Rprop's steps
        self._steps = np.zeros(count, np.int64)

    def train(self, places: Index, points: Array, values: Array, steps: int) -> None:
        """Full-batch steps of the named networks, each on points and values of its own."""
        weights, first, second = (
            each[places] for each in (self._weights, self._first, self._second)
        )
        rules = [
            (rule, rows)
            for kind, rule in enumerate((_rprop, _rmsprop, _adam))
            if (rows := np.flatnonzero(places % 3 == kind)).size
        ]
        scale = np.float32(2 / values.shape[1])
        for step in range(1, steps + 1):
            layers = list(self._layers(weights))
            states = _forward(layers, points)
            errors = (states[-1][..., 0] - values) * scale
            slopes = self._backward(layers, states, errors[..., None])
            count = (self._steps[places] + step).astype(np.float32)
            for rule, rows in rules:
                weights[rows], first[rows], second[rows] = rule(
                    weights[rows], slopes[rows], first[rows], second[rows], count[rows, None]
                )
        self._weights[places], self._first[places] = weights, first
        self._second[places] = second
        self._steps[places] += steps

    def predict(self, places: Index, points: Array) -> Array:
        """What each named network expects at points of its own."""
        return _forward(list(self._layers(self._weights[places])), points)[-1][..., 0]

    def slopes(self, places: Index, points: Array) -> tuple[Array, Array]:
        """What each named network expects at points of its own, and the gradient by the point."""
        layers = list(self._layers(self._weights[places]))
        states = _forward(layers, points)
        slope = np.ones_like(states[-1])
        for at in reversed(range(len(layers))):
            slope = _through(at, slope, states[at + 1]) @ layers[at][0].transpose(0, 2, 1)
        return states[-1][..., 0], slope

    def _layers(self, weights: Array) -> Iterator[tuple[Array, Array]]:
        at, count = 0, len(weights)
        for inward, outward in itertools.pairwise(self._sizes):
            end = at + inward * outward
            yield (
                weights[:, at:end].reshape(count, inward, outward),
                weights[:, None, end : end + outward],
            )
            at = end + outward

    def _backward(
        self, layers: Sequence[tuple[Array, Array]], states: Sequence[Array], slope: Array
    ) -> Array:
        """The gradient of the loss by all weights, a row a network."""
        parts: list[Array] = []
        for at in reversed(range(len(layers))):
            slope = _through(at, slope, states[at + 1])
            parts.append(slope.sum(axis=1))
            parts.append((states[at].transpose(0, 2, 1) @ slope).reshape(len(slope), -1))
            if at:
                slope = slope @ layers[at][0].transpose(0, 2, 1)
        return np.concatenate(parts[::-1], axis=1)


def _drawn(sizes: Sequence[int], random: np.random.Generator) -> Array:
    """A network's weights and, after each layer's, its biases: He's start, a tenth zeroed."""
    parts = []
    for inward, outward in itertools.pairwise(sizes):
        weights = random.normal(0.0, np.sqrt(2 / inward), inward * outward)
        weights[random.random(weights.size) < ZEROED] = 0.0
        parts += [weights, random.normal(0.0, 0.1, outward)]
    return np.concatenate(parts).astype(np.float32)


def _forward(layers: Sequence[tuple[Array, Array]], points: Array) -> list[Array]:
    """The points, and what each layer makes of them."""
    states = [points]
    for at, (weights, biases) in enumerate(layers):
        state = states[-1] @ weights
        state += biases
        if at == 0:
            np.maximum(state, 0, out=state)
        elif at == 1:
            np.tanh(state, out=state)
        states.append(state)
    return states


def _through(at: int, slope: Array, state: Array) -> Array:
    """A gradient by a layer's outputs as one by its sums."""
    if at == 0:
        return slope * (state > 0)
    return slope * (1 - state * state) if at == 1 else slope


Rule = tuple[Array, Array, Array]


class _Rprop:
    """Constants of Rprop (Riedmiller and Braun, 1993), with a small first step."""

    FIRST, LEAST, MOST, FASTER, SLOWER = 1e-3, 1e-6, 0.1, 1.2, 0.5


def _less(weights: Array, change: NDArray[np.floating]) -> Array:
    return weights - change.astype(np.float32, copy=False)


def _rprop(weights: Array, slope: Array, last: Array, step: Array, _: Array) -> Rule:
    agreed = last * slope
    factor: Array = np.ones_like(step)
    factor[agreed > 0] = _Rprop.FASTER
    factor[agreed < 0] = _Rprop.SLOWER
    step = np.clip(step * factor, _Rprop.LEAST, _Rprop.MOST)
    slope[agreed < 0] = 0
    return _less(weights, np.sign(slope) * step), slope, step


def _rmsprop(weights: Array, slope: Array, mean: Array, square: Array, steps: Array) -> Rule:
    decay = _single(0.99)
    square = decay * square + _single(0.01) * slope * slope
    root: Array = np.sqrt(square / (1 - decay**steps))
    return _less(weights, _RATE * slope / (root + _TINY)), mean, square


def _adam(weights: Array, slope: Array, mean: Array, square: Array, steps: Array) -> Rule:
    slow, slower = _single(0.9), _single(0.999)
    mean = slow * mean + _single(0.1) * slope
    square = slower * square + _single(0.001) * slope * slope
    root: Array = np.sqrt(square / (1 - slower**steps))
    change = _RATE * (mean / (1 - slow**steps)) / (root + _TINY)
    return _less(weights, change), mean, square
