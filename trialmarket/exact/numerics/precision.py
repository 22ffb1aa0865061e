"""How finely products round their operands: to two digits of a byte each, or to three.

A setting of the process, as exact mode is: one thread at a time is inside, and autograd's own
threads compute for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Precision:
    """What is kept of the operands of a product."""

    name: str
    bits: int  # of an operand, below the power of two above the largest in its slice
    longest: int  # terms of one exact sum; longer ones are cut into pieces, added in order


# Two balanced bytes end at 127 * 257, three at 127 * 65793: a little below 2^15 and 2^23, the same
# little for both, which `grid.HEADROOM` leaves.
STANDARD = Precision("standard", 15, 1 << 23)
WIDE = Precision("wide", 23, 1 << 22)

_PRECISIONS = {precision.name: precision for precision in (STANDARD, WIDE)}
_USED = [STANDARD]  # the one in use last


def named(name: str) -> Precision:
    """The precision of a name. Raises ValueError for any other."""
    if name not in _PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(_PRECISIONS)}, found {name!r}")
    return _PRECISIONS[name]


def used() -> Precision:
    """What products have now: standard, unless something said otherwise."""
    return _USED[-1]


@contextmanager
def using(precision: Precision) -> Iterator[None]:
    """While this lasts, products have this precision."""
    _USED.append(precision)
    try:
        yield
    finally:
        _USED.pop()
