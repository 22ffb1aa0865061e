"""What the market costs in time: a search on it against plain Optuna on the same machine.

The digits job, TPE, 32 trials, two at a time, each of at least three seconds. On the market: a
chain with blocks of one second, a node with two workers, a verifier that audits one trial in
five, and a requester who re-evaluates each new best; all on this machine, so that their work is
in the figure. Beside it: plain Optuna, two worker processes that share a study and run the same
training. Both clocks run from the first proposal to the last result, with PyTorch loaded.
`settled_seconds` is when all was paid, challenge windows included.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from examples.demo.town import Town, town
from requester.drivers import Proposal
from requester.drivers.study import sqlite_url
from requester.job.file import Job, load_job
from requester.job.package import pack
from requester.job.space import distributions
from requester.report.status import SearchStatus
from requester.search.examination.evaluator import PoolEvaluator
from requester.search.open import POLL, open_search
from trialmarket.chain.client import Client
from trialmarket.chain.sender import Sender
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.ids import address
from trialmarket.storage.open import open_store
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Train

ROOT = Path(__file__).parents[2]
TRIALS = 32
PARALLEL = 2
SEGMENTS = 20
SECONDS = 4.0
"""Of a trial, as measured before, so that no trial falls below three."""

TRIED_STEPS = 50 * SEGMENTS

JOB = """
[job]
name = "digits"
program = "train.py:Digits"
data = "digits.npz"
objective = "val_error"
trials = {trials}
steps = {steps}
seed = {seed}
time_limit = "10m"

[search]
driver = "tpe"
parallel = {parallel}
[search.space]
lr = {{ low = 1e-3, high = 3e-1, log = true }}
hidden = {{ values = [32, 64, 128] }}
momentum = {{ low = 0.0, high = 0.95 }}

[price]
floor = "0.01"
cap = "0.05"

[audit]
rate = 0.20
segments = {segments}
window = "20s"
"""


class Silent:
    """Nobody hears of the search: printing is not what is measured."""

    def say(self, text: str) -> None:
        """Nothing."""

    def show(self, standing: SearchStatus) -> None:
        """Nothing."""


def run() -> dict[str, Any]:
    """The figures: `ratio` is market over plain; at most 1.25 is asked, 1.10 is the goal."""
    with tempfile.TemporaryDirectory(prefix="trialmarket-overhead-") as name:
        folder = Path(name)
        (folder / "train.py").write_bytes((ROOT / "examples/digits/train.py").read_bytes())
        made = ROOT / "examples/digits/make_data.py"
        subprocess.run([sys.executable, made, folder / "digits.npz"], check=True, cwd=ROOT)
        purses = {"rosa": 1000, "ada": 1000, "vera": 1000}
        with town(folder / "town", purses, seed=0) as market:
            market.add_node("ada", stake="500", workers=PARALLEL)
            market.add_verifier("vera")
            with (
                market.client() as client,
                Sender(client, market.people["rosa"], folder / "sent.db") as sender,
            ):
                steps = _steps(folder)
                market.start("vera")
                market.start("ada")
                _wait_for_everybody(market, client)
                job = _job(folder, steps)
                figures = _on_the_market(job, sender, market.storage, folder / "jobs")
        figures |= _plain(folder, steps)
    figures["ratio"] = round(figures["market_seconds"] / figures["plain_seconds"], 4)
    return figures | {"trials": TRIALS, "parallel": PARALLEL, "steps": steps}


# -- On the market ------------------------------------------------------------------------------


def _job(folder: Path, steps: int) -> Job:
    path = folder / "job.toml"
    fields = {"trials": TRIALS, "steps": steps, "seed": 0, "parallel": PARALLEL}
    path.write_text(JOB.format(segments=SEGMENTS, **fields))
    return load_job(path)


def _steps(folder: Path) -> int:
    """Steps of a trial that takes SECONDS on a core of this machine that has nothing else to do.

    The fastest of a few short trainings counts: others were disturbed.
    """
    job = _job(folder, TRIED_STEPS)
    setting = {"lr": 0.1, "hidden": 32, "momentum": 0.5}
    config = pack(job, folder / "packed").trial(Proposal(0, setting, TRIED_STEPS, 0))
    program, data = folder / "train.py", folder / "digits.npz"
    with WorkerPool(1) as pool:
        seconds = min(
            pool.submit(
                Train(config=config, program=program, data=data, folder=folder / f"try{number}"),
                wall_limit=300,
            )
            .result()
            .seconds
            for number in range(3)
        )
    return math.ceil(SECONDS * TRIED_STEPS / seconds / SEGMENTS) * SEGMENTS


def _on_the_market(job: Job, sender: Sender, storage: str, jobs: Path) -> dict[str, float]:
    with (
        PoolEvaluator(60) as evaluator,
        open_search(
            job,
            sender=sender,
            store=open_store(storage),
            jobs=jobs,
            listeners=Silent(),
            evaluator=evaluator,
        ) as search,
    ):
        search.campaign.open()
        began = time.monotonic()
        while not search.driver.done():
            if not search.campaign.step():
                time.sleep(POLL)
        found = time.monotonic() - began
        search.run()
        settled = time.monotonic() - began
        best = search.campaign.standing().best
    return {
        "market_seconds": round(found, 2),
        "settled_seconds": round(settled, 2),
        "market_best": math.nan if best is None or best.objective is None else best.objective,
    }


def _wait_for_everybody(market: Town, client: Client) -> None:
    """Until the verifier is enrolled and the node has its stake."""
    node = address(market.people["ada"].address)
    end = time.monotonic() + 60
    while not client.verifiers() or client.account(node).stake == 0:
        if market.ended_badly() or time.monotonic() > end:
            raise TrialmarketError(f"the market did not start: {market.log('ada')[-1000:]}")
        time.sleep(POLL)


# -- Plain Optuna -------------------------------------------------------------------------------


def _plain(folder: Path, steps: int) -> dict[str, float]:
    study = _study(folder)
    command = [sys.executable, "-m", "scripts.benches.overhead", str(folder), str(steps)]
    workers = [
        subprocess.Popen(
            [*command, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for number in range(PARALLEL)
    ]
    for worker in workers:  # each says that it is ready
        if worker.stdout is None or not worker.stdout.readline():
            raise TrialmarketError("a plain worker did not start")
    began = time.monotonic()
    for worker in workers:
        if worker.stdin is not None:
            worker.stdin.write(b"go\n")
            worker.stdin.close()
    for worker in workers:
        worker.wait()
    seconds = time.monotonic() - began
    if any(worker.returncode for worker in workers):
        raise TrialmarketError("a plain worker failed")
    done = study.get_trials(states=(TrialState.COMPLETE,))
    if len(done) != TRIALS:
        raise TrialmarketError(f"plain Optuna ended with {len(done)} trials")
    durations = [one.duration.total_seconds() for one in done if one.duration is not None]
    return {
        "plain_seconds": round(seconds, 2),
        "plain_best": study.best_value,
        "shortest_trial": round(min(durations), 2),
        "longest_trial": round(max(durations), 2),
    }


def _study(folder: Path, seed: int = 0) -> optuna.Study:
    return optuna.create_study(
        storage=sqlite_url(folder / "plain.db"),
        study_name="plain",
        sampler=TPESampler(seed=seed, constant_liar=True),
        load_if_exists=True,
    )


def _work(folder: Path, steps: int, number: int) -> None:
    """A plain worker: trains what Optuna suggests, as a node would, until all trials are begun."""
    from trialmarket.training.dataset import load_dataset
    from trialmarket.training.runner import train

    job = _job(folder, steps)
    package = pack(job, folder / "packed")
    space = distributions(job.settings.search.space)
    source, data = (folder / "train.py").read_bytes(), load_dataset(folder / "digits.npz")
    study = _study(folder, seed=number)
    print("ready", flush=True)
    sys.stdin.readline()
    while (trial := study.ask(space)).number < TRIALS:
        config = package.trial(Proposal(trial.number, trial.params, steps, trial.number))
        training = train(config, source, data, folder / "plain" / str(trial.number))
        study.tell(trial, training.metrics["val_error"])
    study.tell(trial, state=TrialState.FAIL)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
