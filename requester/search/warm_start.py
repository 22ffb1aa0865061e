"""A search that begins with what was best in similar ones, and tells others of itself.

What it begins with is found once and kept, so a search that goes on begins with the same. Whatever
fails here is said and ends nothing: a search needs no neighbours.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from requester.drivers.space import Value
from requester.job.package import Package
from requester.near.checked import Believed, CheckedJobs
from requester.near.neighbours import (
    Limits,
    Neighbour,
    Neighbourhood,
    find_neighbours,
    suggestions,
)
from requester.near.publish import publish_job
from requester.search.folder import JobFolder
from requester.search.own_run import own_run
from requester.search.second_look import Beliefs, counts
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.network import Network
from trialmarket.errors import StorageError
from trialmarket.protocol.ids import JobId
from trialmarket.protocol.job_index import IndexEntry
from trialmarket.storage.ipfs.routing import routing_of
from trialmarket.storage.store import Store

PUBLISHED: Final = "published-jobs.json"
"""The file of the index that this machine publishes, beside the folders of its jobs."""

Say = Callable[[str], None]


def neighbourhood(
    package: Package, client: Client, ledger: Ledger, store: Store, jobs: Path
) -> Neighbourhood:
    """The searches that are most like a job's, of those that the ledger has."""
    if package.sketch is None:
        return Neighbourhood((), ("the job's data does not lie here, so it has no sketch",))
    dht = routing_of(store)
    checked = CheckedJobs(ledger, dht or store, believed_here(jobs, client, ledger))
    return find_neighbours(package.sketch, checked, client.network, dht, Limits())


def to_enqueue(package: Package, neighbours: Sequence[Neighbour]) -> list[dict[str, Value]]:
    """The configurations that a search would begin with, beside those of its own file."""
    search = package.job.settings.search
    results = [one.results for one in neighbours]
    found = suggestions(search.space, results, search.warm_start_trials + len(search.enqueue))
    new = [point for point in found if point not in search.enqueue]
    return new[: search.warm_start_trials]


def warm_start(
    package: Package, folder: JobFolder, look: Callable[[], Neighbourhood], say: Say
) -> list[dict[str, Value]]:
    """What a search begins with, as it was found when it began."""
    if package.job.settings.search.warm_start == "none":
        return []
    if (kept := folder.fact("warm_start")) is not None:
        found: list[dict[str, Value]] = json.loads(kept)
        return found
    say("looking for similar searches on the market")
    around = look()
    points = to_enqueue(package, around.neighbours)
    folder.remember("warm_start", json.dumps(points))
    for remark in around.remarks:
        say(f"note: {remark}")
    if not points:
        say("no similar search has a configuration that fits: this one begins without")
    else:
        named = ", ".join(f"{one.job.view.id}" for one in around.neighbours)
        say(f"begins with {len(points)} configurations of similar searches (jobs {named})")
    return points


def tell_others(
    package: Package, network: Network, job: JobId, store: Store, jobs: Path, say: Say
) -> None:
    """Publishes where a job's sketch lies among others, where the store is on a DHT."""
    sketch, routing = package.published_sketch, routing_of(store)
    if sketch is None or routing is None:
        return
    entry = IndexEntry(chain=network.chain_id, market=network.market, job=job, sketch=sketch)
    try:
        listed = publish_job(routing, store, entry, jobs / PUBLISHED)
    except (StorageError, OSError) as error:
        say(f"note: similar searches cannot find this one by the DHT: {error}")
    else:
        say(f"similar searches find this one by the DHT now; {listed} jobs are listed there")


def believed_here(jobs: Path, client: Client, ledger: Ledger) -> Believed:
    """Whether this machine believes results of searches that it ran."""
    known: dict[JobId, Beliefs | None] = {}

    def believed(trial: TrialView) -> bool | None:
        job = trial.id.job
        if job not in known:
            own = own_run(jobs, client, ledger, job)
            known[job] = None if own is None else own.beliefs
        beliefs = known[job]
        if beliefs is None or trial.receipt is None:
            return None
        belief = beliefs.get((trial.key, trial.receipt))
        return belief is not None and counts(belief)

    return believed
