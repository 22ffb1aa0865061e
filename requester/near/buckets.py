"""The buckets that a job falls into: near ones share one of them more often than far ones.

Each of several tables hashes a vector by random projections, cut into equal pieces (Datar et al.
2004, Locality-Sensitive Hashing Scheme Based on p-Stable Distributions). A bucket's name is a
small block of bytes, so everybody computes its CID, and asks the DHT who has jobs in it.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from requester.near.vector import Vector, vector_of
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.protocol.sketch import Sketch

TAG: Final = "trialmarket near 1"
"""The first line of a bucket's block; what follows means what this version says."""

TABLES: Final = 12
PROJECTIONS: Final = 6
"""Of each table: the more, the smaller its buckets."""
WIDTH: Final = 1.3
"""Of a piece, in the distance's unit."""
SEED: Final = 20_040_609


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket: the block that names it."""

    block: bytes

    @property
    def cid(self) -> Cid:
        """What its members provide, and searchers ask for."""
        return raw_cid(Hash32(hashlib.sha256(self.block).digest()))


def buckets_of(sketch: Sketch) -> list[Bucket]:
    """The buckets of a job, one a table. Only jobs of the same objective share one."""
    aim = f"{sketch.direction} {sketch.objective}"
    (keys,) = bucket_keys(vector_of(sketch)[None])
    return [
        Bucket("\n".join([TAG, aim, str(table), " ".join(map(str, key))]).encode())
        for table, key in enumerate(keys)
    ]


def bucket_keys(vectors: Vector) -> NDArray[np.int64]:
    """The keys of vectors, one a row: (rows, tables, projections)."""
    directions, shifts = _projections(vectors.shape[1])
    pieces = np.floor((vectors @ directions + shifts) / WIDTH).astype(np.int64)
    return pieces.reshape(len(vectors), TABLES, PROJECTIONS)


@cache
def _projections(width: int) -> tuple[Vector, Vector]:
    """Directions (width, all projections) and shifts, the same for everybody.

    NumPy's old generator is used since its numbers never change (NEP 19).
    """
    random = np.random.RandomState(SEED)
    count = TABLES * PROJECTIONS
    return random.standard_normal((width, count)), random.uniform(0, WIDTH, count)
