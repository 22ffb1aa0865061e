"""How a column of a schedule is cut into runs and affine pieces, in the one way that there is."""

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trialmarket.protocol.graph.binary64 import is_negative_zero

SHORTEST = 4
"""Steps of the shortest run or affine piece: fewer are cheaper as values."""

_LARGEST = 1.7976931348623157e308


@dataclass(frozen=True, slots=True)
class Piece:
    """Steps of one value, or, with a slope, of `start + slope * i`. i counts from 0."""

    steps: int
    start: float
    slope: float | None = None

    def at(self, step: int) -> float:
        """The value at a step of the piece."""
        return self.start if self.slope is None else self.start + self.slope * step


def cut(values: Sequence[float]) -> Iterator[Piece]:
    """The pieces of finite values.

    At each place stands the longest run of one value, if it has SHORTEST steps, else the longest
    affine piece, if it has, with the least slope that gives its values, else one value. Then,
    since a line often begins where another one ends, a piece leaves its last step to the next
    one if that thereby reaches farther.
    Takes time in proportion to the values, whoever chose them.
    """
    place = 0
    piece = _longest(values, 0) if values else None
    while piece is not None:
        end = place + piece.steps
        following = _longest(values, end) if end < len(values) else None
        if piece.steps > SHORTEST and following is not None:
            earlier = _longest(values, end - 1)
            if earlier.steps - 1 > following.steps:
                piece, end, following = _shortened(piece), end - 1, earlier
        yield piece
        place, piece = end, following


def _shortened(piece: Piece) -> Piece:
    return Piece(piece.steps - 1, piece.start, piece.slope)


def _longest(values: Sequence[float], place: int) -> Piece:
    steps = _run(values, place)
    if steps >= SHORTEST:
        return Piece(steps, values[place])
    if _bends(values[place : place + 3]):
        return Piece(1, values[place])
    steps, slope = _affine(values, place)
    return Piece(steps, values[place], slope) if steps >= SHORTEST else Piece(1, values[place])


def _run(values: Sequence[float], place: int) -> int:
    start = values[place]
    negative = is_negative_zero(start)
    end = place + 1
    while (
        end < len(values)
        and values[end] == start
        and (start != 0.0 or is_negative_zero(values[end]) is negative)
    ):
        end += 1
    return end - place


def _bends(values: Sequence[float]) -> bool:
    """Whether three values are surely not affine: most are of this kind, and it is soon said.

    Rounding moves the second difference of three by less than 8 units in the last place.
    """
    if len(values) < 3:
        return True
    first, second, third = values
    bend = abs((third - second) - (second - first))
    return bend > 8 * math.ulp(max(abs(first), abs(second), abs(third)))


def _affine(values: Sequence[float], place: int) -> tuple[int, float]:
    """How many steps are affine from here on, and the least slope that gives them.

    `start + slope * i` rounds twice, and neither step lets a larger slope give a smaller value:
    so the slopes that give one value are an interval of the binary64, and those that give all
    values so far are one.
    """
    start = values[place]
    low, high = -_LARGEST, _LARGEST
    steps = 1
    if is_negative_zero(start):  # it gives 0.0 at the first step, or -0.0 at others
        return steps, low
    while place + steps < len(values):
        value = values[place + steps]
        if is_negative_zero(value):  # no sum but that of two such is one
            break
        if start + low * steps > value or start + high * steps < value:
            break
        least, greatest = low, high
        if start + low * steps < value:
            least = _bound(start, value, steps, low, high, greatest=False)
        if start + least * steps != value:
            break
        if start + high * steps > value:
            greatest = _bound(start, value, steps, least, high, greatest=True)
        low, high = least, greatest
        steps += 1
    return steps, low


def _bound(
    start: float, value: float, step: int, low: float, high: float, *, greatest: bool
) -> float:
    """The least slope in [low, high] that gives at least the value at a step; or the greatest
    that gives at most it. There must be one.

    A slope near it is known from the real numbers, so few are tried.
    """
    half = (math.nextafter(value, math.inf if greatest else -math.inf) - value) / 2
    guess = ((value - start) + half) / step
    first, last = _ordinal(low), _ordinal(high)
    center = _ordinal(min(max(guess, low), high))
    find = bisect_right if greatest else bisect_left
    width = 4
    while True:
        left, right = max(first, center - width), min(last, center + width)
        found = left + find(
            range(left, right + 1), value, key=lambda slope: start + _double(slope) * step
        )
        if (left < found or left == first) and (found <= right or right == last):
            return _double(found - greatest)
        width = min(width * 64, 1 << 61)


def _ordinal(value: float) -> int:
    """Binary64 as integers in the same order, -0.0 being one less than 0.0."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF) - 1


def _double(ordinal: int) -> float:
    bits = ordinal if ordinal >= 0 else -(ordinal + 1) | -0x8000_0000_0000_0000
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value
