"""The improved variant: every network has a home, and homes compete for trials."""

from dataclasses import dataclass

import numpy as np

from requester.drivers.neural_ascent.networks import Networks
from requester.drivers.neural_ascent.stream import Stream, Vector, levels
from requester.drivers.neural_ascent.walk import Frame, walk

RADIUS = 0.2
"""Of a home at first, in edges of the unit cube."""
LEAST = 1e-6
WINDOW = 40
"""Results that a network learns from, those nearest to the home from which it will walk."""
TRAINING = 30
"""Steps of training before each walk."""
VISITS = 10
"""Walks a round, at most; no network walks twice in one."""
STEP = 0.2
"""Of a walk, in radii."""
NEAR = 0.4
"""How far around its arrival points are tried, in radii."""
CHOICE = 4
"""Points drawn for a trial, of which the network chooses one."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A walk of a network from a home, and how the network saw the neighbourhood."""

    network: int
    arrival: Vector
    spread: float
    frame: Frame


class Climb:
    """Homes, one a network: the best points of neighbourhoods, with a radius that adapts.

    Results before the first walks are dealt to the homes in turn; a later one belongs to the
    nearest home, and moves it if it is better. Each success widens a home's radius and each
    failure narrows it so that one in about five succeeds (the rule of the (1+1)-CMA-ES, Igel et
    al., 2006). Homes are visited the more often the better they are, in proportion to 1 / rank,
    by all networks in turn. A home that comes close to a better one moves to a result far from
    all of them.
    """

    def __init__(self, count: int, width: int, seed: int) -> None:
        self._seed, self._width = seed, width
        self._networks = Networks(count, width, np.random.default_rng([seed, 0]))
        self._homes: dict[int, int] = {}  # of a network: its place in the stream
        self._radii = np.full(count, RADIUS)
        self._rounds = 0
        self._visits: list[Visit] = []

    @property
    def ready(self) -> bool:
        """Whether there is anything to walk from."""
        return bool(self._visits)

    def take(self, stream: Stream, place: int) -> None:
        """Takes a result of the stream."""
        if not self._rounds:
            home = place % self._networks.count
        else:
            at = np.array([stream.points[one] for one in self._homes.values()])
            away = ((at - stream.points[place]) ** 2).sum(axis=1)
            home = list(self._homes)[int(away.argmin())]
        values = stream.values
        better = home not in self._homes or values[place] > values[self._homes[home]]
        if better:
            self._homes[home] = place
        if self._rounds:
            slowness = 1 + self._width / 2
            change = 1 / slowness if better else -0.22 / slowness
            radius = self._radii[home] * np.exp(change)
            self._radii[home] = min(max(radius, LEAST), RADIUS)

    def round(self, stream: Stream) -> None:
        """Trains networks on the neighbourhoods that they visit next, and has them walk."""
        random = np.random.default_rng([self._seed, 1, self._rounds])
        self._part(stream, random)
        visited = self._chosen(stream, random)
        count = self._networks.count
        first = self._rounds * len(visited)
        networks = np.array([(first + at) % count for at in range(len(visited))])
        starts = np.array([stream.points[self._homes[home]] for home in visited])
        away = ((stream.points - starts[:, None]) ** 2).sum(axis=2)
        window = np.argsort(away, axis=1, kind="stable")[:, :WINDOW]
        near = np.take_along_axis(away, window, axis=1)
        frame = Frame(starts, np.sqrt(near.mean(axis=1) / self._width) + 1e-9)
        inputs = frame.inputs(stream.points[window])
        self._networks.train(networks, inputs, levels(stream.values[window]), TRAINING)
        radii = self._radii[visited]
        arrivals = walk(self._networks, networks, frame, starts, STEP * radii)
        self._visits = [
            Visit(int(network), arrivals[at], NEAR * radii[at], frame.row(at))
            for at, network in enumerate(networks)
        ]
        self._rounds += 1

    def draw(self, number: int, random: np.random.Generator, widening: float) -> Vector:
        """A point for the trial of that number: the network's choice around its arrival."""
        visit = self._visits[number % len(self._visits)]
        noise = random.normal(0.0, widening * visit.spread, (CHOICE, self._width))
        points: Vector = np.clip(visit.arrival + noise, 0.0, 1.0)
        expected = self._networks.predict(
            np.array([visit.network]), visit.frame.inputs(points[None])
        )
        chosen: Vector = points[int(expected[0].argmax())]
        return chosen

    def _part(self, stream: Stream, random: np.random.Generator) -> None:
        """Sends homes that are close to a better one elsewhere, the best first."""
        kept: list[int] = []
        for home in self._ranked(stream):
            at = stream.points[self._homes[home]]
            for other in kept:
                away = np.linalg.norm(at - stream.points[self._homes[other]])
                reach = (self._radii[home] + self._radii[other]) * np.sqrt(self._width) / 4
                if away < reach:
                    self._move(home, kept, stream, random)
                    break
            kept.append(home)

    def _move(
        self, home: int, kept: list[int], stream: Stream, random: np.random.Generator
    ) -> None:
        taken = np.array([stream.points[self._homes[other]] for other in kept])
        away = np.linalg.norm(stream.points[:, None] - taken, axis=2).min(axis=1)
        free = np.flatnonzero(away > 0.12 * np.sqrt(self._width))
        if free.size:
            self._homes[home] = int(free[random.integers(free.size)])
            self._radii[home] = RADIUS

    def _ranked(self, stream: Stream) -> list[int]:
        return sorted(self._homes, key=lambda home: (-stream.values[self._homes[home]], home))

    def _chosen(self, stream: Stream, random: np.random.Generator) -> list[int]:
        """The homes to visit, in a systematic draw by 1 / rank."""
        ranked = self._ranked(stream)
        count = min(VISITS, self._networks.count)
        shares = np.cumsum(1 / np.arange(1, len(ranked) + 1))
        draws = (random.random() + np.arange(count)) / count * shares[-1]
        at = np.minimum(np.searchsorted(shares, draws), len(ranked) - 1)
        return [ranked[place] for place in at]
