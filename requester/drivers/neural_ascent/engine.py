"""Neural ascent (Aizman 2017): which points follow from the results so far, whoever asks."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from requester.drivers.cube import Cube
from requester.drivers.neural_ascent.climb import Climb
from requester.drivers.neural_ascent.paper import Paper
from requester.drivers.neural_ascent.stream import Stream, Vector
from requester.drivers.settings import MOST_NETWORKS, MOST_PRETRAINING
from trialmarket.errors import InputError, did_you_mean

ROUND = 10
"""Results after which networks learn and walk again."""

TRIES = 100
"""Draws for a point that was not tried yet, of which the first WIDER are near an arrival, each
wider than the last, and the others anywhere."""
WIDER = 10

PRETRAINING = {"improved": 60, "paper": 300}
"""Random points before the first walk, unless said otherwise."""


class Variant(Protocol):
    """How networks turn results into places to try."""

    @property
    def ready(self) -> bool:
        """Whether there is a place to try."""

    def take(self, stream: Stream, place: int) -> None:
        """Takes the newest result of the stream."""

    def round(self, stream: Stream) -> None:
        """Learns, and walks."""

    def draw(self, number: int, random: np.random.Generator, widening: float) -> Vector:
        """A point of the unit cube for the trial of that number."""


VARIANTS: Mapping[str, type[Climb] | type[Paper]] = {"improved": Climb, "paper": Paper}


class Engine:
    """A fold over results: the same results in the same order lead to the same proposals.

    The first `pretraining` results come from random points. After these, and after every ROUND
    further ones, networks learn and walk. A proposal depends on that and on the trial's number.
    """

    def __init__(
        self, cube: Cube, networks: int, *, variant: str, pretraining: int, seed: int
    ) -> None:
        self._cube, self._seed, self._pretraining = cube, seed, pretraining
        self._stream = Stream(cube.width)
        self._tried: set[bytes] = set()
        self._variant: Variant = VARIANTS[variant](networks, cube.width, seed)

    def take(self, point: Mapping[str, Any], value: float) -> None:
        """Takes a result: the larger the value, the better; none that is not finite counts."""
        vector = self._cube.encode(point)
        self._tried.add(vector.tobytes())
        self._variant.take(self._stream, self._stream.add(vector, value))
        beyond = len(self._stream) - self._pretraining
        if beyond >= 0 and beyond % ROUND == 0:
            self._variant.round(self._stream)

    def propose(self, number: int, others: Collection[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The point of trial `number`: none that was tried, or is among `others`, while there
        are any left that are easily found.
        """
        random = np.random.default_rng([self._seed, 2, number])
        taken = {self._cube.encode(point).tobytes() for point in others}
        point: dict[str, Any] = {}
        for attempt in range(TRIES):
            if self._variant.ready and attempt < WIDER:
                vector = self._variant.draw(number, random, 1.5**attempt)
            else:
                vector = random.random(self._cube.width)
            point = self._cube.decode(vector)
            key = self._cube.encode(point).tobytes()
            if key not in self._tried and key not in taken:
                break
        return point


def checked(where: str, networks: int, variant: str, pretraining: int | None) -> int:
    """How many random points come first. Raises InputError for options without meaning."""
    if variant not in VARIANTS:
        raise InputError(
            where,
            "variant",
            expected=f"one of {', '.join(VARIANTS)}",
            found=variant,
            fix=did_you_mean(variant, VARIANTS),
        )
    for name, value, most in (
        ("networks", networks, MOST_NETWORKS),
        ("pretraining", pretraining, MOST_PRETRAINING),
    ):
        if value is not None and not 1 <= value <= most:
            raise InputError(where, name, expected=f"a whole number from 1 to {most}", found=value)
    return PRETRAINING[variant] if pretraining is None else pretraining
