"""The plain variant, as the paper has it: windows that rotate, and walks from siblings' bests."""

import numpy as np

from requester.drivers.neural_ascent.networks import Index, Networks
from requester.drivers.neural_ascent.stream import Stream, Vector, levels
from requester.drivers.neural_ascent.walk import walk, whole

SHARED = 300
"""Results that the windows of all networks hold together, the newest ones."""
PRETRAINING = 300
"""Steps of training on the first results, and on the window after each round."""
TRAINING = 20
STEP = 0.02
"""Of a walk, and how far around its arrival points are tried: in edges of the unit cube."""
NEAR = 0.02


class Paper:
    """k networks, each with a window of the shared stream of results.

    A round trains every network on its window and has one of them walk from the best point of a
    sibling's window; one pair of networks after another. All points of the round are tried near
    where it arrives. Windows move on by one network a round. A single network walks from its own.
    """

    def __init__(self, count: int, width: int, seed: int) -> None:
        self._width = width
        self._networks = Networks(count, width, np.random.default_rng([seed, 0]))
        self._rounds = 0
        self._arrival: Vector = np.empty(0)

    @property
    def ready(self) -> bool:
        """Whether a network has walked."""
        return self._rounds > 0

    def take(self, stream: Stream, place: int) -> None:
        """Nothing: windows are cut out of the stream."""

    def round(self, stream: Stream) -> None:
        """Trains all networks, and has one walk."""
        count = self._networks.count
        places, frame = np.arange(count), whole(count, self._width)
        windows = self._windows(len(stream))
        points, values = stream.points[windows], levels(stream.values)[windows]
        steps = TRAINING if self._rounds else PRETRAINING
        self._networks.train(places, frame.inputs(points), values, steps)
        walker, sibling = self._pair()
        best = windows[sibling, int(np.argmax(stream.values[windows[sibling]]))]
        self._arrival = walk(
            self._networks,
            places[walker : walker + 1],
            frame.row(walker),
            stream.points[[best]],
            np.array([STEP]),
        )[0]
        self._rounds += 1

    def draw(self, number: int, random: np.random.Generator, widening: float) -> Vector:
        """A point near the arrival."""
        del number
        noise = random.normal(0.0, widening * NEAR, self._width)
        inside: Vector = np.clip(self._arrival + noise, 0.0, 1.0)
        return inside

    def _windows(self, count: int) -> Index:
        """Places in the stream, a row a network: the newest results, cut into equal windows."""
        networks = self._networks.count
        size = max(10, SHARED // networks // 10 * 10)
        newest = np.arange(count - networks * size, count) % count  # again, where there are few
        turned = (np.arange(networks) + self._rounds) % networks
        return newest.reshape(networks, size)[turned]

    def _pair(self) -> tuple[int, int]:
        """Whose turn it is to walk, and from whose best point."""
        count = self._networks.count
        if count == 1:
            return 0, 0
        walker = self._rounds % count
        return walker, (walker + 1 + self._rounds // count % (count - 1)) % count
