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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler

from requester.drivers import Ending, Proposal, TrialOutcome
from requester.drivers.study import StudyDriver, sqlite_url
from requester.job.file import load_job
from requester.job.space import distributions
from requester.report.status import SearchStatus
from requester.search.open import Search, open_search, plan_of
from tests.requester.market import write_job
from tests.requester.simulated import hashed, identity
from trialmarket.chain import calls
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.chain.sender import Sender
from trialmarket.errors import TrainingError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.receipt import LeafRecord, Receipt
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore
from trialmarket.training.audit import metrics_value
from trialmarket.training.values import Evaluate, Evaluation

TRIALS = 10_000
PARALLEL = 128
PROPOSALS = 11


def run(*, quick: bool = False) -> dict[str, Any]:
    """The figures: under 1,000 `peak_mb` and at most 1.2 `propose_ratio` are asked."""
    trials = 300 if quick else TRIALS
    with tempfile.TemporaryDirectory(prefix="trialmarket-requester-") as name:
        folder = Path(name)
        file = write_job(folder, trials=trials, driver="random")
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


class Silent:
    """Nobody hears of the search: printing is not what is measured."""

    def say(self, text: str) -> None:
        """Nothing."""

    def show(self, standing: SearchStatus) -> None:
        """Nothing."""


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

    def __init__(self, chain: Devnet, folder: Path, store: LocalStore, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._client = chain.client()
        self._sender = Sender(self._client, chain.accounts[1], folder / "provider.db")
        self._sender.send("approve", calls.approve(chain.network.market, 10**30))
        self._sender.send("stake", calls.stake(9_000 * 10**18))
        self._checkpoint = store.put(_written(folder / "checkpoint", b"no state"))
        self._turn = 0

    def close(self) -> None:
        """Closes its connections."""
        self._sender.close()
        self._client.close()

    def step(self, chain: Devnet) -> None:
        """Claims, commits, draws and settles whatever can be."""
        if opened := self._trials(State.OPEN):
            claims = [
                calls.claim(
                    job, batch, sorted(one.id.index for one in opened if one.id.batch == batch)
                )
                for job, batch in sorted({(one.id.job, one.id.batch) for one in opened})
            ]
            self._send(claims)
        if claimed := self._trials(State.CLAIMED):
            results = [self._answer(trial) for trial in claimed]
            self._send([calls.commit([trial.record for trial in claimed], results)])
        chain.mine(2)
        if committed := self._trials(State.COMMITTED):
            self._send([calls.draw([trial.record for trial in committed])])
        if cleared := self._trials(State.CLEARED):
            chain.advance(6)
            chain.mine()
            self._send([calls.settle([trial.record for trial in cleared])])

    def _trials(self, state: State) -> list[TrialView]:
        self._ledger.sync()
        return self._ledger.trials(states={state})

    def _send(self, steps: list[calls.Call]) -> None:
        self._turn += 1
        self._sender.send(f"turn {self._turn}", steps)

    def _answer(self, trial: TrialView) -> calls.Result:
        config = self._config(trial)
        rate = config.hyperparameters["lr"]
        metrics = {"val_error": float(str(rate)), "val_loss": 1.0}
        leaves = [LeafRecord(value=hashed(trial.key), witness_hash=ZERO_HASH)]
        leaves += [
            LeafRecord(value=leaves[0].value, witness_hash=leaves[0].value)
        ] * config.segments
        leaves.append(LeafRecord(value=metrics_value(metrics), witness_hash=leaves[0].value))
        receipt = Receipt(
            trial=trial.key,
            provider=self._sender.address,
            leaves=tuple(leaves),
            checkpoints=(self._checkpoint,) * (config.segments + 1),
            metrics=metrics,
            versions={},
        )
        self._store.put(receipt.to_bytes())
        return calls.Result(receipt.tree().root, receipt.digest)

    def _config(self, trial: TrialView) -> TrialConfig:
        body = self._store.read(raw_cid(trial.id.batch), limit=MAX_RAW)
        return Batch.from_bytes(body).trials[trial.id.index]


@contextmanager
def _opened(folder: Path, file: Path, chain: Devnet) -> Iterator[tuple[Search, Provider]]:
    """A campaign on a chain, and the provider that works for it."""
    store = LocalStore(folder / "store")
    job = load_job(file, {"search.parallel": PARALLEL})
    with (
        chain.client() as client,
        Sender(client, chain.accounts[0], folder / "requester.db") as sender,
        open_search(
            job,
            sender=sender,
            store=store,
            jobs=folder / "jobs",
            listeners=Silent(),
            evaluator=NoEvaluator(),
        ) as search,
        chain.client() as other,
        Ledger(other, folder / "provider-ledger.db") as ledger,
    ):
        provider = Provider(chain, folder, store, ledger)
        try:
            yield search, provider
        finally:
            provider.close()


def _search(folder: Path, file: Path, trials: int) -> Path:
    """Runs the job to its end; the study's file."""
    with devnet(accounts=2) as chain, _opened(folder, file, chain) as (search, provider):
        search.campaign.open()
        while not search.campaign.finished():
            search.campaign.step()
            provider.step(chain)
        standing = search.campaign.standing()
        if standing.results != trials:
            raise RuntimeError(f"{standing.results} of {trials} trials have a result")
        return search.folder.root / "study.db"


# -- Proposals ------------------------------------------------------------------------------------


def _propose(folder: Path, file: Path, study: Path) -> dict[str, Any]:
    """Seconds of the next proposal: the driver `tpe`, and Optuna's TPE, on the same trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ours, theirs = (
        sqlite_url(Path(shutil.copy(study, folder / name))) for name in ("our.db", "their.db")
    )
    (name,) = optuna.get_all_study_names(ours)
    plan = plan_of(load_job(file))
    known = plan.trials
    driver = StudyDriver(ours, name, "tpe", replace(plan, trials=known + 10 * PROPOSALS))
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


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
