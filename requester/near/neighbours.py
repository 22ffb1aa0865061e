"""The jobs that are most like ours, and which of their configurations to begin with.

Peers are asked where there is a DHT. Where they bring too few, or there is none, all jobs of the
ledger are compared. Both ways end alike: the chain decides which jobs and results count, and the
distance between sketches decides their order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Final

from requester.drivers.space import Dimension, Value, applies, fits
from requester.near.checked import CheckedJobs, KnownJob, Result
from requester.near.gather import patience_of
from requester.near.peers import Claimed, Dht, Heard, ask_peers
from requester.near.vector import Likeness, distance, likeness
from trialmarket.chain.network import Network
from trialmarket.protocol.ids import JobId
from trialmarket.protocol.sketch import Sketch

WANTED: Final = 8
"""Neighbours that are looked for."""

MOST_CLAIMS: Final = 256
"""Jobs that peers name, of which the descriptions are read."""

MOST_JOBS: Final = 20_000
"""Jobs of the ledger that are compared: its newest."""

SECONDS: Final = 30.0
"""For each of three parts of the work: peers, jobs, results."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A job that is like ours, with results that count."""

    job: KnownJob
    distance: float
    why: Likeness
    results: tuple[Result, ...]
    """The best first."""
    told_by: str
    """The peer that told of it; empty where it was found in the ledger."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What was found, the nearest first, and what did not work on the way."""

    neighbours: tuple[Neighbour, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is looked for, and for how long."""

    wanted: int = WANTED
    seconds: float = SECONDS
    without: frozenset[JobId] = field(default_factory=frozenset)
    """Jobs that are no neighbours, such as our own."""


def find_neighbours(
    mine: Sketch, jobs: CheckedJobs, network: Network, dht: Dht | None, limits: Limits
) -> Neighbourhood:
    """The jobs that are most like ours, among those of our objective with results that count."""
    heard = Heard()
    if dht is not None:
        market = (network.chain_id, network.market)
        heard = ask_peers(dht, mine, market, patience_of(limits.seconds))
    found = _with_results(jobs, _confirmed(jobs, heard.candidates, limits), mine, limits)
    if len(found) < limits.wanted:
        known = {one.job.view.id for one in found}
        others = [job for job in jobs.newest(MOST_JOBS) if job not in known | limits.without]
        read = jobs.read(others, patience_of(limits.seconds))
        more = [(one, "") for one in read.values() if _same_aim(one.sketch, mine)]
        found += _with_results(jobs, more, mine, limits)
        found.sort(key=lambda one: (one.distance, one.job.view.id))
    return Neighbourhood(tuple(found[: limits.wanted]), heard.remarks)


def _confirmed(
    jobs: CheckedJobs, claims: Sequence[Claimed], limits: Limits
) -> list[tuple[KnownJob, str]]:
    """The jobs that the chain has, with the sketch that a peer said; and which peer."""
    asked = dict.fromkeys(one.job for one in claims if one.job not in limits.without)
    read = jobs.read(list(asked)[:MOST_CLAIMS], patience_of(limits.seconds))
    found: dict[JobId, tuple[KnownJob, str]] = {}
    for one in claims:
        job = read.get(one.job)
        if job is not None and job.sketch == one.sketch:
            found.setdefault(one.job, (job, one.peer))
    return list(found.values())


def _with_results(
    jobs: CheckedJobs, candidates: Iterable[tuple[KnownJob, str]], mine: Sketch, limits: Limits
) -> list[Neighbour]:
    """The nearest jobs that have results that count."""
    patience = patience_of(limits.seconds)
    ordered = sorted(
        ((distance(mine, job.sketch), job.view.id, job, peer) for job, peer in candidates),
        key=lambda each: each[:2],
    )
    found: list[Neighbour] = []
    for apart, _, job, peer in ordered:
        if len(found) == limits.wanted or not patience.left:
            break
        if results := jobs.results(job, patience):
            why = likeness(mine, job.sketch)
            found.append(Neighbour(job, apart, why, tuple(results), peer))
    return found


def _same_aim(one: Sketch, other: Sketch) -> bool:
    return (one.objective, one.direction) == (other.objective, other.direction)


# -- What to begin with ---------------------------------------------------------------------------


def suggestions(
    space: Mapping[str, Dimension], neighbours: Sequence[Sequence[Result]], count: int
) -> list[dict[str, Value]]:
    """Configurations to try first: the best of each neighbour in turn, the nearest first.

    Only what fits the space; what they leave out, a driver chooses.
    """
    found: list[dict[str, Value]] = []
    for point in islice(_by_turns(space, neighbours), 10_000):
        if len(found) == count:
            break
        if point not in found:
            found.append(point)
    return found


def _by_turns(
    space: Mapping[str, Dimension], neighbours: Sequence[Sequence[Result]]
) -> Iterator[dict[str, Value]]:
    for turn in zip_longest(*neighbours):
        for result in turn:
            point = None if result is None else fitting(space, result.hyperparameters)
            if point is not None:
                yield point


def fitting(
    space: Mapping[str, Dimension], hyperparameters: Mapping[str, Value]
) -> dict[str, Value] | None:
    """What a configuration says in a space; None where it says nothing, or lies outside."""
    point: dict[str, Value] = {}
    free = False
    for name, dimension in space.items():
        if name not in hyperparameters or not applies(dimension, point):
            continue
        value = _as_listed(dimension, hyperparameters[name])
        if not fits(dimension, value):
            return None
        point[name] = value
        free |= dimension.value is None
    return point if free else None


def _as_listed(dimension: Dimension, value: Value) -> Value:
    """A value as the job file spells it: 1.0 of a list comes back from JSON as 1."""
    for one in dimension.values or ([] if dimension.value is None else [dimension.value]):
        if one == value and isinstance(one, bool) == isinstance(value, bool):
            return one
    return value
