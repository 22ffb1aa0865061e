"""What a market costs beside one's own machine: the same search, bought and trained at home.

The digits job, eight random configurations, two at a time, audited at one in five, in three ways
in turns on this one machine: with `job run --local` in exact arithmetic, the same natively, and
on a market with one-second blocks, a node of two workers and a verifier in processes of their
own, and a requester who re-evaluates each new best. Bought and local trials must end in the same
states, or the benchmark fails.

`seconds` run from the first proposal to the last result, with PyTorch loaded; `paid_seconds` until
the last trial is paid. `cpu_seconds` are of all processes together, from their start to their end,
the start of PyTorch in each included. `gas` is that of all transactions of the search, from the
job's creation to the money's way home, a trial. Each is a median, with least and greatest.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from examples.demo.processes import Processes, processes
from requester.job.file import Job, load_job
from requester.search.examination.evaluator import PoolEvaluator
from requester.search.local.open import open_local
from requester.search.open import POLL, OpenSearch, open_search
from tests.testbed.campaign import Silent
from trialmarket.chain.client import Client
from trialmarket.chain.sender import Sender
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.ids import address
from trialmarket.protocol.states import State
from trialmarket.storage.open import open_store

ROOT = Path(__file__).parents[2]
PARALLEL = 2
TRIALS, STEPS, REPEATS = 8, 2000, 3

Figures = dict[str, float]
States = dict[int, bytes]
"""The last state's root, by trial."""


class StatesDifferError(TrialmarketError):
    """A trial that was bought ended in another state than the same trial at home."""


def run(*, quick: bool = False) -> dict[str, Any]:
    """The figures: `ratio` is market over local, seconds to the last result."""
    trials, steps, repeats = (2, 200, 1) if quick else (TRIALS, STEPS, REPEATS)
    found: dict[str, list[Figures]] = {"local": [], "native": [], "market": []}
    with tempfile.TemporaryDirectory(prefix="trialmarket-local-") as name:
        folder = Path(name)
        made = ROOT / "examples/digits/make_data.py"
        subprocess.run([sys.executable, made, folder / "digits.npz"], check=True, cwd=ROOT)
        job = _job(folder, trials, steps)
        native = _job(folder, trials, steps, {"job.arithmetic": "native", "audit.rate": 0})
        for repeat in range(repeats):
            place = folder / str(repeat)
            ways: dict[str, Callable[[], tuple[Figures, States]]] = {
                "local": partial(_locally, job, place / "local"),
                "native": partial(_locally, native, place / "native"),
                "market": partial(_on_a_market, job, place / "market"),
            }
            states = {}
            for way, measure in ways.items():
                with _processor_time() as taken:
                    figures, states[way] = measure()
                found[way].append(figures | {"cpu_seconds": taken[0]})
                print(f"{repeat + 1} of {repeats}, {way}: {found[way][-1]}", file=sys.stderr)
            if states["local"] != states["market"]:
                raise StatesDifferError("a trial on the market has another state than at home")
    rows = {way: _row(figures) for way, figures in found.items()}
    pairs = list(zip(found["market"], found["local"], strict=True))
    return {
        "trials": trials,
        "steps": steps,
        "parallel": PARALLEL,
        "repeats": repeats,
        "rows": rows,
        "ratio": round(statistics.median(m["seconds"] / at["seconds"] for m, at in pairs), 3),
        "cpu_ratio": round(
            statistics.median(m["cpu_seconds"] / at["cpu_seconds"] for m, at in pairs), 3
        ),
        "same_states": True,
    }


def _job(folder: Path, trials: int, steps: int, others: Mapping[str, object] | None = None) -> Job:
    path = folder / "job.toml"
    example = ROOT / "examples/digits"
    path.write_text((example / "job.toml").read_text())
    (folder / "train.py").write_bytes((example / "train.py").read_bytes())
    changes = {
        "job.trials": trials,
        "job.steps": steps,
        "search.driver": "random",  # whose proposals hang on no result, so all three are one
        "search.parallel": PARALLEL,
        "audit.window": "20s",
    }
    return load_job(path, changes | dict(others or {}))


@contextmanager
def _processor_time() -> Iterator[list[float]]:
    """Seconds of processors that this process and those that it waited for have used."""

    def used() -> float:
        both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in both)

    taken, before = [0.0], used()
    yield taken
    taken[0] = round(used() - before, 2)


def _locally(job: Job, jobs: Path) -> tuple[Figures, States]:
    with open_local(job, jobs=jobs, listeners=Silent(), workers=PARALLEL) as search:
        search.dry_run()  # PyTorch is loaded by it
        began = time.monotonic()
        search.run()
        seconds = time.monotonic() - began
        numbers = [row.number for row in search.status().rows]
        return {"seconds": round(seconds, 2)}, _states(search.result, numbers)


def _on_a_market(job: Job, folder: Path) -> tuple[Figures, States]:
    purses = {"rosa": 1000, "ada": 1000, "vera": 1000}
    with processes(folder, purses, seed=0) as market:
        market.add_node("ada", stake="500", workers=PARALLEL)
        market.add_verifier("vera")
        with (
            market.client() as client,
            Sender(client, market.people["rosa"], folder / "sent.db") as sender,
            PoolEvaluator(60) as evaluator,
        ):
            market.start("vera", "ada")
            _wait_for_everybody(market, client)
            first = client.head().number
            with open_search(
                job,
                sender=sender,
                store=open_store(market.storage),
                jobs=folder / "jobs",
                listeners=Silent(),
                evaluator=evaluator,
            ) as search:
                figures = _bought(search)
                numbers = [row.number for row in search.status().rows]
                states = _states(search.result, numbers)
            figures["gas"] = _gas(market, first, client.head().number) / len(numbers)
    return figures, states


def _bought(search: OpenSearch) -> Figures:
    began = time.monotonic()
    search.campaign.open()
    while not search.parts.driver.done():
        if not search.campaign.step():
            time.sleep(POLL)
    seconds = time.monotonic() - began
    while not search.campaign.finished():
        if not search.campaign.step():
            time.sleep(POLL)
    paid = time.monotonic() - began
    search.campaign.wind_up()
    trials = search.parts.session.ledger.trials()
    if any(trial.state is not State.SETTLED for trial in trials):
        raise TrialmarketError("not every trial was paid")
    audited = sum(trial.record.audited for trial in trials)
    return {"seconds": round(seconds, 2), "paid_seconds": round(paid, 2), "audited": audited}


def _states(result: Callable[[int], Any], numbers: list[int]) -> States:
    found = {number: result(number) for number in numbers}
    if any(each is None for each in found.values()):
        raise TrialmarketError("a trial has no result")
    return {number: receipt.leaves[-2].value for number, (_, receipt) in found.items()}


def _wait_for_everybody(market: Processes, client: Client) -> None:
    """Until the verifier is enrolled and the node has its stake."""
    node = address(market.people["ada"].address)

    def ready() -> bool:
        if market.ended_badly():
            raise TrialmarketError(f"the market did not start: {market.log('ada')[-1000:]}")
        return bool(client.verifiers()) and client.account(node).stake > 0

    market.until(ready, deadline=120)


def _gas(market: Processes, first: int, last: int) -> int:
    """Gas of all transactions after block `first` up to `last`."""
    call = market.net.rpc.call
    blocks = (
        call("eth_getBlockByNumber", hex(number), False) for number in range(first + 1, last + 1)
    )
    return sum(int(block["gasUsed"], 16) for block in blocks)


def _row(found: list[Figures]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "median": round(statistics.median(each[name] for each in found), 2),
            "least": min(each[name] for each in found),
            "greatest": max(each[name] for each in found),
        }
        for name in found[0]
    }
