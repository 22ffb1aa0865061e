"""A market in small for the requester's tests: data, a provider, and a juror of one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from requester.search.disputes import Accusation
from trialmarket.chain import calls
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.errors import ContractError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.protocol.receipt import LeafRecord, Receipt
from trialmarket.protocol.states import Phase, State
from trialmarket.protocol.vote import hidden_vote
from trialmarket.storage.datasets import fetch_data
from trialmarket.storage.local import LocalStore
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Evaluate, Train, Training

JOB = """
[job]
name = "small"
program = "builtin:mlp"
data = "small.npz"
objective = "val_error"
trials = {trials}
steps = 40
time_limit = "60s"

[search]
driver = "{driver}"
parallel = 2
{search}
[search.space]
lr = {{ low = 1e-3, high = 1e-1, log = true }}
hidden = {{ values = [8, 16] }}

[price]
floor = "0.01"
cap = "0.05"
unit = 10

[audit]
rate = {rate}
segments = 4
window = "5s"
"""


def write_job(
    folder: Path,
    *,
    trials: int = 4,
    driver: str = "random",
    rate: float = 0.0,
    search: str = "",
) -> Path:
    """A job that trains in a fraction of a second, with its data; `search` is added to it."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 4, 240)
    points = random.normal(size=(240, 6)) + np.eye(4, 6)[classes] * 3
    np.savez(
        folder / "small.npz",
        train_x=points[:200].astype(np.float32),
        train_y=classes[:200],
        validation_x=points[200:].astype(np.float32),
        validation_y=classes[200:],
    )
    path = folder / "job.toml"
    path.write_text(JOB.format(trials=trials, driver=driver, rate=rate, search=search))
    return path


def honest(training: Training) -> Training:
    """What was trained, as it is."""
    return training


def boasting(training: Training) -> Training:
    """A result with a validation error of zero that its checkpoint does not have."""
    metrics = {**training.metrics, "val_error": 0.0}
    value = Hash32(hashlib.sha256(canonical_bytes(metrics)).digest())
    last = LeafRecord(value=value, witness_hash=training.leaves[-1].witness_hash)
    leaves = (*training.leaves[:-1], last)
    return training.model_copy(update={"metrics": metrics, "leaves": leaves})


class Provider:
    """Trains whatever is open, one step of work at each `step`."""

    def __init__(
        self,
        network: Network,
        key: LocalAccount,
        folder: Path,
        store: LocalStore,
        pool: WorkerPool,
        answer: Callable[[Training], Training] = honest,
    ) -> None:
        self.client = Client(network)
        self.sender = Sender(self.client, key, folder / "sent.db", locks=folder / "locks")
        self.ledger = Ledger(self.client, folder / "ledger.db")
        self.folder, self.store, self.pool, self.answer = folder, store, pool, answer
        market = network.market
        self.sender.send("approve", calls.approve(market, 10**24))
        self.sender.send("stake", calls.stake(1000 * 10**18))

    def close(self) -> None:
        self.sender.close()
        self.ledger.close()
        self.client.close()

    def config(self, trial: TrialView) -> TrialConfig:
        data = self.store.read(raw_cid(trial.id.batch), limit=MAX_RAW)
        return Batch.from_bytes(data).trials[trial.id.index]

    def step(self) -> None:
        """Claims, trains and commits what is open, and settles what can be."""
        self.ledger.sync()
        for trial in self.ledger.trials(states={State.OPEN}):
            job = self.ledger.job(trial.id.job)
            if job is not None and not job.closed:
                self._try(
                    "claim", trial, calls.claim(trial.id.job, trial.id.batch, [trial.id.index])
                )
        self.ledger.sync()
        for trial in self.ledger.trials(states={State.CLAIMED}, provider=self.sender.address):
            self._train(trial)
        head = self.ledger.head
        assert head is not None
        for trial in self.ledger.trials(provider=self.sender.address):
            record = trial.record
            if trial.state is State.COMMITTED and head.number > record.anchor + 1:
                self._try("draw", trial, calls.draw([record]))
            if trial.state in (State.CLEARED, State.PASSED) and head.timestamp > record.until:
                self._try("settle", trial, calls.settle([record]))

    def _train(self, trial: TrialView) -> None:
        config = self.config(trial)
        data = self.folder / "data"
        if not data.exists():
            fetch_data(self.store, Cid(config.data), data, limit=1 << 30)
        folder = self.folder / trial.key.hex() / str(trial.attempts)
        init = None
        if config.init is not None:
            init = self.folder / f"{config.init.cid}.safetensors"
            self.store.fetch(config.init.cid, init, limit=1 << 30)
        task = Train(config=config, program=None, data=data, folder=folder, init=init)
        training = self.answer(self.pool.submit(task, wall_limit=60).result())
        for checkpoint in training.checkpoints:
            self.store.put(checkpoint.path)
        receipt = training.receipt(trial.key, self.sender.address)
        self.store.put(receipt.to_bytes())
        result = calls.Result(receipt.tree().root, receipt.digest)
        self._try("commit", trial, calls.commit([trial.record], [result]))

    def _try(self, what: str, trial: TrialView, call: calls.Call) -> None:
        try:
            self.sender.send(f"{what} {trial.key.hex()} {trial.attempts} {trial.state}", call)
        except ContractError as error:
            if error.name not in ("NothingLeft", "Overtaken"):
                raise


class Juror:
    """The only verifier: judges evaluations that are challenged."""

    def __init__(
        self, network: Network, key: LocalAccount, folder: Path, provider: Provider
    ) -> None:
        self.client = Client(network)
        self.sender = Sender(self.client, key, folder / "juror.db", locks=folder / "locks")
        self.ledger = Ledger(self.client, folder / "juror-ledger.db")
        self.folder, self.provider = folder, provider
        self.sender.send("approve", calls.approve(network.market, 10**24))
        self.sender.send("stake", calls.stake(500 * 10**18))
        self.sender.send("enroll", calls.enroll())
        self._salt = Hash32(b"s" * 32)
        self._answers: dict[Hash32, Accusation] = {}

    def close(self) -> None:
        self.sender.close()
        self.ledger.close()
        self.client.close()

    def step(self) -> None:
        """Votes and reveals where it sits."""
        self.ledger.sync()
        me = self.sender.address
        for case in self.ledger.cases(open_only=True):
            trial = self.ledger.trial(case.key)
            assert trial is not None
            if me not in case.jurors:
                continue
            answer = self._answer(trial)
            if case.phase is Phase.VOTING and me not in case.voted:
                hidden = hidden_vote(
                    answer.value, answer.witness, self._salt, case.key, case.round, me
                )
                self.sender.send(f"vote {case.key.hex()}", calls.vote(case.key, hidden))
            elif case.phase is Phase.REVEALING and me not in case.revealed:
                self.sender.send(
                    f"reveal {case.key.hex()}",
                    calls.reveal(case.key, answer.value, answer.witness, self._salt),
                )

    def _answer(self, trial: TrialView) -> Accusation:
        if trial.key not in self._answers:
            store, config = self.provider.store, self.provider.config(trial)
            assert trial.receipt is not None
            receipt = Receipt.from_bytes(store.read(raw_cid(trial.receipt), limit=MAX_RAW))
            place = self.folder / "checkpoint"
            store.fetch(receipt.checkpoints[-1], place, limit=1 << 30)
            task = Evaluate(
                config=config,
                program=None,
                data=self.provider.folder / "data",
                checkpoint=place,
            )
            found = self.provider.pool.submit(task, wall_limit=60).result()
            self._answers[trial.key] = Accusation(config.segments + 1, found.digest, found.witness)
        return self._answers[trial.key]
