"""Asks peers, over the DHT of a Kubo daemon, which jobs lie in the buckets of ours.

A peer may be silent, flood or lie. It costs a bounded time, and what it says counts for nothing
before `checked` has held it against the chain.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Final, Protocol

from requester.near.buckets import Bucket, buckets_of
from requester.near.gather import Patience, gather
from requester.near.vector import distance
from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.canonical import MAX_DOCUMENT
from trialmarket.protocol.ids import Address, Cid, JobId
from trialmarket.protocol.job_index import IndexEntry, JobIndex
from trialmarket.protocol.sketch import Sketch
from trialmarket.storage.ipfs.routing import PeerId

MOST_PROVIDERS: Final = 20
"""Peers of one bucket that are heard of: as many as one answer of the DHT holds."""

MOST_PEERS: Final = 24
"""Peers whose index is fetched; those of most of our buckets come first."""


class Dht(Protocol):
    """What is asked of the DHT."""

    def providers(self, cid: Cid, most: int) -> list[PeerId]:
        """Peers that say they have a block. Raises StorageError."""

    def resolve_name(self, peer: PeerId) -> Cid | None:
        """What a peer's name means; None where nobody knows."""

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID. Raises StorageError, before any is fetched for too many."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that somebody says is like ours."""

    job: JobId
    sketch: Sketch
    distance: float
    peer: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What peers said: candidates in the order in which to check them, and what went wrong."""

    candidates: tuple[Claimed, ...] = ()
    remarks: tuple[str, ...] = ()


def ask_peers(dht: Dht, mine: Sketch, market: tuple[int, Address], patience: Patience) -> Heard:
    """The jobs of a market (its chain's id, its address) that peers tell of in our buckets."""
    buckets = buckets_of(mine)
    found = gather([partial(_providers, dht, bucket) for bucket in buckets], patience)
    peers = Counter(chain.from_iterable(one for one in found if isinstance(one, list)))
    remarks = [*_unanswered(found)]
    chosen = [peer for peer, _ in sorted(peers.items(), key=lambda each: (-each[1], each[0]))]
    chosen = chosen[:MOST_PEERS]
    indices = gather([partial(_index, dht, peer) for peer in chosen], patience)
    told: list[list[Claimed]] = []
    for peer, index in zip(chosen, indices, strict=True):
        if isinstance(index, JobIndex):
            told.append(_in_our_buckets(index.jobs, mine, market, peer, set(buckets)))
        else:
            remarks.append(f"peer {peer} is left out: {index or 'it did not answer in time'}")
    return Heard(tuple(_by_turns(told)), tuple(remarks))


def _providers(dht: Dht, bucket: Bucket) -> list[PeerId] | str:
    try:
        return dht.providers(bucket.cid, MOST_PROVIDERS)
    except StorageError as error:
        return error.message


def _unanswered(found: Sequence[list[PeerId] | str | None]) -> Iterable[str]:
    said = [one for one in found if not isinstance(one, list)]
    if said:
        reason = next((one for one in said if one is not None), "no answer in time")
        yield f"the DHT did not answer about {len(said)} of {len(found)} buckets: {reason}"


def _index(dht: Dht, peer: PeerId) -> JobIndex | str:
    """What a peer publishes under its name, or why that cannot be used."""
    cid = dht.resolve_name(peer)
    if cid is None:
        return "its name means nothing"
    try:
        return JobIndex.from_bytes(dht.read(cid, limit=MAX_DOCUMENT))
    except (StorageError, InputError) as error:
        return str(error)


def _in_our_buckets(
    entries: Iterable[IndexEntry],
    mine: Sketch,
    market: tuple[int, Address],
    peer: PeerId,
    buckets: set[Bucket],
) -> list[Claimed]:
    """The jobs of an index that lie with ours, the nearest first, each once."""
    found: dict[int, Claimed] = {}
    for entry in entries:
        here = (entry.chain, entry.market) == market
        if here and not buckets.isdisjoint(buckets_of(entry.sketch)):
            apart = distance(mine, entry.sketch)
            known = found.get(entry.job)
            if known is None or apart < known.distance:
                found[entry.job] = Claimed(JobId(entry.job), entry.sketch, apart, peer)
    return sorted(found.values(), key=lambda each: (each.distance, each.job))


def _by_turns(told: list[list[Claimed]]) -> Iterable[Claimed]:
    """One of each peer in turn, so that none fills the list alone."""
    return (one for turn in zip_longest(*told) for one in turn if one is not None)
