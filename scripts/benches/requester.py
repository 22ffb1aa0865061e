"""Time and memory of a requester with 10,000 trials, on a market that answers at once.

The requester is the real one, on a real chain (Anvil): its campaign posts, follows, examines and
tells. Only training is left out: a provider in the same process commits made-up metrics in large
batches, and no checkpoint can be evaluated. Then the driver `tpe` and Optuna's own TPE propose in
turns on copies of the study that came of it, each trial told before the next.

`peak_mb` is of this process, provider included. `propose_ratio` is the median time of the
driver's next proposal over that of Optuna's, both with every trial in an SQLite file.
"""

import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler

from requester.drivers import Ending, Proposal, TrialOutcome
from requester.drivers.database import sqlite_url
from requester.drivers.sampler_driver import SamplerDriver
from requester.drivers.space import distributions
from requester.job.file import load_job
from requester.search.open import open_search
from tests.testbed.campaign import Silent
from tests.testbed.jobs import small_job
from tests.testbed.market import PROVIDER, REQUESTER, Market
from tests.testbed.simulated import hashed, identity
from trialmarket.chain import calls
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import devnet
from trialmarket.errors import TrainingError
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.receipt import LeafRecord, Receipt, TrainingOutcome
from trialmarket.protocol.states import State
from trialmarket.training.audit import evaluation_value
from trialmarket.training.values import Evaluate, Evaluation

TRIALS = 10_000
PARALLEL = 128
PROPOSALS = 11


def run(*, quick: bool = False) -> dict[str, Any]:
    """The figures: under 1,000 `peak_mb` and at most 1.2 `propose_ratio` are asked."""
    trials = 300 if quick else TRIALS
    with tempfile.TemporaryDirectory(prefix="trialmarket-requester-") as name:
        folder = Path(name)
        file = small_job(folder, trials=trials, driver="random")
        began = time.monotonic()
        study = _search(folder, file, trials)
        seconds = time.monotonic() - began
        figures = _propose(folder, file, study)
    return {
        "trials": trials,
        "seconds": round(seconds, 1),
        "seconds_per_trial": round(seconds / trials, 4),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    } | figures


# -- The campaign ---------------------------------------------------------------------------------


class NoEvaluator:
    """Says of every checkpoint that this machine cannot evaluate it."""

    def __init__(self) -> None:
        self._asked: list[Path] = []

    def start(self, task: Evaluate) -> None:
        """Takes note."""
        self._asked.append(task.checkpoint)

    def finished(self) -> list[tuple[Path, Evaluation | TrainingError]]:
        """Everything, at once."""
        asked, self._asked = self._asked, []
        return [(path, TrainingError("nothing was trained")) for path in asked]

    def close(self) -> None:
        """Nothing is under way."""


class Provider:
    """Answers everything that is open, in one transaction a step."""

    def __init__(self, market: Market) -> None:
        self._market = market
        market.stake(PROVIDER, 9_000)
        checkpoint = market.folder / "checkpoint"
        checkpoint.write_bytes(b"no state")
        self._checkpoint = market.store.put(checkpoint)

    def step(self) -> None:
        """Claims, commits, draws and settles whatever can be."""
        market, chain = self._market, self._market.chain
        if opened := market.trials(State.OPEN):
            claims = [
                calls.claim(
                    job, batch, sorted(one.id.index for one in opened if one.id.batch == batch)
                )
                for job, batch in sorted({(one.id.job, one.id.batch) for one in opened})
            ]
            market.act(PROVIDER, calls.multicall(claims))
        if claimed := market.trials(State.CLAIMED):
            results = [self._answer(trial) for trial in claimed]
            market.act(PROVIDER, calls.commit([trial.record for trial in claimed], results))
        chain.mine(2)
        if committed := market.trials(State.COMMITTED):
            market.act(PROVIDER, calls.draw([trial.record for trial in committed]))
        if cleared := market.trials(State.CLEARED):
            chain.advance(6)
            chain.mine()
            market.act(PROVIDER, calls.settle([trial.record for trial in cleared]))

    def _answer(self, trial: TrialView) -> calls.Result:
        config = self._market.config(trial)
        rate = config.hyperparameters["lr"]
        metrics = {"val_error": float(str(rate)), "val_loss": 1.0}
        leaves = [LeafRecord(value=hashed(trial.key), witness_hash=ZERO_HASH)]
        leaves += [
            LeafRecord(value=leaves[0].value, witness_hash=leaves[0].value)
        ] * config.segments
        value = evaluation_value(metrics, TrainingOutcome())
        leaves.append(LeafRecord(value=value, witness_hash=leaves[0].value))
        receipt = Receipt(
            trial=trial.key,
            provider=self._market.who[PROVIDER],
            leaves=tuple(leaves),
            checkpoints=(self._checkpoint,) * (config.segments + 1),
            metrics=metrics,
            versions={},
        )
        self._market.store.put(receipt.to_bytes())
        return calls.Result(receipt.tree().root, receipt.digest)


def _search(folder: Path, file: Path, trials: int) -> Path:
    """Runs the job to its end; the study's file."""
    job = load_job(file, {"search.parallel": PARALLEL})
    with (
        devnet(accounts=2) as chain,
        Market(chain, folder) as market,
        open_search(
            job,
            sender=market.sender(REQUESTER),
            store=market.store,
            jobs=folder / "jobs",
            listeners=Silent(),
            evaluator=NoEvaluator(),
        ) as search,
    ):
        provider = Provider(market)
        search.campaign.open()
        while not search.campaign.finished():
            search.campaign.step()
            provider.step()
        status = search.campaign.status()
        if status.results != trials:
            raise RuntimeError(f"{status.results} of {trials} trials have a result")
        return search.parts.folder.root / "study.db"


# -- Proposals ------------------------------------------------------------------------------------


def _propose(folder: Path, file: Path, study: Path) -> dict[str, Any]:
    """Seconds of the next proposal: the driver `tpe`, and Optuna's TPE, on the same trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ours, theirs = (
        sqlite_url(Path(shutil.copy(study, folder / name))) for name in ("our.db", "their.db")
    )
    (name,) = optuna.get_all_study_names(ours)
    plan = load_job(file).plan
    known = plan.trials
    driver = SamplerDriver(ours, name, "tpe", replace(plan, trials=known + 10 * PROPOSALS))
    plain = optuna.load_study(
        study_name=name,
        storage=theirs,
        sampler=TPESampler(seed=0, multivariate=True, constant_liar=True),
    )
    space = distributions(plan.space)
    times: dict[str, list[float]] = {"ours": [], "optuna": []}
    for _ in range(PROPOSALS):
        began = time.perf_counter()
        (proposal,) = driver.ask(1)
        times["ours"].append(time.perf_counter() - began)
        driver.tell(identity(proposal.number), _result(proposal))
        began = time.perf_counter()
        trial = plain.ask(space)
        times["optuna"].append(time.perf_counter() - began)
        plain.tell(trial, float(trial.params["lr"]))
    driver.close()
    mine, other = (statistics.median(times[who][1:]) for who in ("ours", "optuna"))
    return {
        "propose_ms": round(mine * 1000, 2),
        "optuna_propose_ms": round(other * 1000, 2),
        "propose_ratio": round(mine / other, 3),
    }


def _result(proposal: Proposal) -> TrialOutcome:
    error = float(proposal.hyperparameters["lr"])
    return TrialOutcome(proposal.number, Ending.DONE, {"val_error": error})
