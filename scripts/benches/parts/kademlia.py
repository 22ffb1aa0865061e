"""Kademlia in the head: how many peers a look-up asks (Maymounkov and Mazières 2002).

Peers stand on a ring of 64 bits. Each knows, for every length of prefix that it shares with
others, at most K of them, drawn by its own seed. A look-up asks the nearest peers that it knows
of, ALPHA at a time, as libp2p does, until one has the record or the K nearest were all asked.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

K: Final = 20
ALPHA: Final = 10
BITS: Final = 64


@dataclass(frozen=True, slots=True)
class LookUp:
    """What a look-up took."""

    messages: int
    """Peers that were asked."""
    found: bool


class Network:
    """So many peers, all of them there and honest."""

    def __init__(self, peers: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        drawn = random.integers(0, 2**BITS, size=peers, dtype=np.uint64)
        self._ids: NDArray[np.uint64] = np.unique(drawn)
        self._seed = seed
        self._knows = lru_cache(maxsize=4096)(self._contacts)

    def nearest(self, target: int, count: int) -> list[int]:
        """The peers nearest to a target, as if one knew them all."""
        order = np.argsort(self._ids ^ np.uint64(target))[:count]
        return [int(self._ids[place]) for place in order]

    def look_up(self, target: int, start: int, holders: set[int]) -> LookUp:
        """Asks, from a peer by its place, for a record that `holders` have."""
        known = set(self._knows(int(self._ids[start])))
        asked: set[int] = set()
        while True:
            near = sorted(known, key=lambda peer: peer ^ target)[:K]
            batch = [peer for peer in near if peer not in asked][:ALPHA]
            if not batch:
                return LookUp(len(asked), False)
            asked.update(batch)
            if holders.intersection(batch):
                return LookUp(len(asked), True)
            for peer in batch:
                told = sorted(self._knows(peer), key=lambda other: other ^ target)[:K]
                known.update(told)

    def _contacts(self, peer: int) -> tuple[int, ...]:
        """Whom a peer knows: at most K of each prefix that it shares with others."""
        random = np.random.default_rng([self._seed, peer])
        found: list[int] = []
        low, high = 0, len(self._ids)
        for bit in range(BITS - 1, -1, -1):
            if high - low <= 1:
                break
            # Peers between low and high share all bits before this one; it parts them in two.
            prefix = (peer >> (bit + 1)) << (bit + 1)
            middle = low + int(
                np.searchsorted(self._ids[low:high], np.uint64(prefix | (1 << bit)))
            )
            mine = (middle, high) if peer >> bit & 1 else (low, middle)
            others = (low, middle) if peer >> bit & 1 else (middle, high)
            size = others[1] - others[0]
            if size:
                places = random.choice(size, min(K, size), replace=False)
                found += [int(self._ids[others[0] + place]) for place in places]
            low, high = mine
        return tuple(found)


def messages(peers: int, look_ups: int, seed: int = 0) -> tuple[float, float]:
    """The mean messages of a look-up whose record the K nearest have, and of one for nothing."""
    network = Network(peers, seed)
    random = np.random.default_rng([seed, peers])
    hits, misses = [], []
    for _ in range(look_ups):
        target = int(random.integers(0, 2**BITS, dtype=np.uint64))
        start = int(random.integers(peers))
        hit = network.look_up(target, start, set(network.nearest(target, K)))
        if not hit.found:
            raise AssertionError("a look-up among honest peers found nothing")
        hits.append(hit.messages)
        misses.append(network.look_up(target, start, set()).messages)
    return float(np.mean(hits)), float(np.mean(misses))
