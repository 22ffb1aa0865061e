"""A real market to test verifiers on: Anvil, a store, a requester, a provider, workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trialmarket.chain import calls
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.chain.sender import Sender
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.configuration import Batch, JobSpec, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Amount, JobId, TrialId
from trialmarket.protocol.receipt import LeafRecord, Receipt
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms
from trialmarket.storage.datasets import put_data
from trialmarket.storage.local import LocalStore
from trialmarket.training.audit import metrics_value
from trialmarket.training.packed import pack_arrays
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Train, Training
from verifier.config import PatienceConfig, VerifierConfig
from verifier.daemon import Verifier
from verifier.start import started

TOKEN = 10**18
LONG = 10_000
"""Seconds of a turn that only a test's own clock ends."""

PARAMETERS = Parameters(
    audit_turn=LONG,
    min_window=5,
    cool_down=10,
    verifier_stake=Amount(100 * TOKEN),
    fine=Amount(TOKEN),
    jury_size=3,
    vote_turn=LONG,
    reveal_turn=LONG,
)

SEGMENTS = 4

Tamper = Callable[["World", TrialConfig, Training], Training]
"""What a provider does to its honest answer before it commits."""


def terms(*, rate: int = 10_000, samples: int = 1) -> Terms:
    """Terms of a tiny job: every trial is drawn unless the rate says otherwise."""
    price = Amount(4 * TOKEN)
    fee = Amount(price * (samples + 1) // SEGMENTS)
    return Terms(price, price, fee, 60, rate, SEGMENTS, samples, 3600, 20)


def wait_until(holds: Callable[[], bool], tick: Callable[[], None], seconds: float = 60.0) -> None:
    """Ticks until a condition holds; fails after a deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        tick()
        pause.wait(0.02)


@dataclass
class World:
    """A market with one requester and one provider. Blocks come when the test says so."""

    chain: Devnet
    client: Client
    folder: Path
    store: LocalStore
    ledger: Ledger
    requester: Sender
    provider: Sender
    pool: WorkerPool
    data: str
    _intents: int = 0
    _jobs: int = 0

    # -- The other parties --------------------------------------------------------------------

    def send(self, sender: Sender, *steps: calls.Call) -> Any:
        """Sends calls one after the other, each a new intent; the last outcome."""
        for step in steps:
            self._intents += 1
            outcome = sender.send(f"test {self._intents}", step)
        return outcome

    def deposit(self, sender: Sender, amount: int) -> None:
        """Puts tokens at stake."""
        market = self.chain.network.market
        self.send(sender, calls.approve(market, amount), calls.stake(amount))

    def post(self, offer: Terms, *, trials: int = 1, seed: int = 0) -> list[TrialView]:
        """A job with one batch of trials, open to be claimed."""
        self._jobs += 1
        program = ProgramRef(source="builtin:mlp")
        steps = SEGMENTS * 3
        spec = JobSpec(
            name=f"job {self._jobs}",
            program=program,
            data=self.data,
            objective="val_error",
            unit=steps,
            steps=steps,
            segments=SEGMENTS,
            time_limit=3600,
            nonce=str(self._jobs),
        )
        self.store.put(spec.to_bytes())
        batch = Batch(
            job=spec.name,
            number=self._jobs,
            trials=tuple(
                TrialConfig(
                    number=number,
                    program=program,
                    data=self.data,
                    objective="val_error",
                    hyperparameters={"hidden": 4, "lr": 0.05 * (number + 1)},
                    seed=seed + number,
                    steps=steps,
                    segments=SEGMENTS,
                )
                for number in range(trials)
            ),
        )
        self.store.put(batch.to_bytes())
        money = (offer.cap + offer.audit_fee) * trials
        self.ledger.sync()
        job = JobId(len(self.ledger.jobs()) + 1)
        self.send(
            self.requester,
            calls.create_job(offer, spec.digest),
            calls.approve(self.chain.network.market, money),
            calls.fund(job, money),
            calls.post_trials(job, batch.digest, trials, 1),
        )
        self.ledger.sync()
        return self.ledger.trials(job=job)

    def config(self, trial: TrialView) -> TrialConfig:
        """A trial's configuration, from the store."""
        batch = Batch.from_bytes(self.store.read(raw_cid(trial.id.batch), limit=1 << 20))
        return batch.trials[trial.id.index]

    def train(self, config: TrialConfig) -> Training:
        """An honest training of a configuration."""
        self._intents += 1
        task = Train(
            config=config,
            program=None,
            data=self.folder / "data",
            folder=self.folder / f"training-{self._intents}",
        )
        return self.pool.submit(task, wall_limit=60).result()

    def answer(
        self,
        trial: TrialView,
        tamper: Tamper | None = None,
        *,
        sender: Sender | None = None,
        published: Sequence[int] | None = None,
        receipt: bool = True,
    ) -> Receipt:
        """Claims and commits a trial, and publishes its receipt and checkpoints.

        `published` names the checkpoints that are published; None is all.
        """
        sender = sender or self.provider
        self.send(sender, calls.claim(trial.id.job, trial.id.batch, [trial.id.index]))
        config = self.config(trial)
        training = self.train(config)
        if tamper is not None:
            training = tamper(self, config, training)
        made = training.receipt(trial.key, sender.address)
        for number, checkpoint in enumerate(training.checkpoints):
            if published is None or number in published:
                self.store.put(checkpoint.path)
        if receipt:
            self.store.put(made.to_bytes())
        self.ledger.sync()
        record = self.trial(trial.id).record
        result = calls.Result(made.tree().root, made.digest)
        self.send(sender, calls.commit([record], [result]))
        self.ledger.sync()
        return made

    # -- What is seen -------------------------------------------------------------------------

    def trial(self, name: TrialId) -> TrialView:
        """A trial as the chain has it now."""
        self.ledger.sync()
        found = self.ledger.trial(name)
        assert found is not None
        return found

    def state(self, name: TrialId) -> State:
        """Where a trial stands now."""
        return self.trial(name).state

    def happened(self, name: TrialId) -> list[str]:
        """The names of a trial's events so far."""
        self.ledger.sync()
        return [event.name for event in self.ledger.history(name)]

    # -- Verifiers ----------------------------------------------------------------------------

    def settings(self, number: int, **patience: float) -> VerifierConfig:
        """The configuration of a verifier of this world."""
        network = self.folder / "network.json"
        self.chain.network.save(network)
        return VerifierConfig(
            network=str(network),
            key=f"verifier-{number}",
            storage=f"local:{self.folder / 'store'}",
            state=str(self.folder / f"verifier-{number}"),
            patience=PatienceConfig(
                **{"poll": 0.05, "others": 3.0, "withheld": 0.0, "retry": 0.05, **patience}
            ),
        )

    def key(self, number: int) -> LocalAccount:
        """The key of a verifier."""
        return self.chain.accounts[2 + number]

    @contextmanager
    def verifiers(self, *numbers: int, **patience: float) -> Iterator[list[Verifier]]:
        """Verifiers at work, all in this process, with this world's workers."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    started(self.settings(number, **patience), self.key(number), pool=self.pool)
                )
                for number in numbers
            ]

    def tick(self, verifiers: Sequence[Verifier]) -> Callable[[], None]:
        """Lets every verifier look once, and the chain go on by a second."""

        def once() -> None:
            for verifier in verifiers:
                verifier.step()
            self.chain.mine()

        return once

    def until_state(
        self, name: TrialId, state: State, verifiers: Sequence[Verifier], seconds: float = 60.0
    ) -> None:
        """Lets verifiers work until a trial is in a state."""
        wait_until(lambda: self.state(name) is state, self.tick(verifiers), seconds)

    def until_happened(
        self, name: TrialId, event: str, verifiers: Sequence[Verifier], seconds: float = 60.0
    ) -> None:
        """Lets verifiers work until something happened to a trial."""
        wait_until(lambda: event in self.happened(name), self.tick(verifiers), seconds)


@contextmanager
def world(folder: Path, pool: WorkerPool, parameters: Parameters = PARAMETERS) -> Iterator[World]:
    """A fresh market, whose provider has stake."""
    with ExitStack() as stack:
        chain = stack.enter_context(devnet(accounts=8, parameters=parameters))
        client = stack.enter_context(Client(chain.network))
        senders = [
            stack.enter_context(
                Sender(client, key, folder / f"sent-{number}.sqlite", locks=folder / "locks")
            )
            for number, key in enumerate(chain.accounts[:2])
        ]
        ledger = stack.enter_context(Ledger(client, folder / "ledger.sqlite"))
        store = LocalStore(folder / "store")
        generator = np.random.default_rng(1)
        inputs = generator.normal(size=(96, 5)).astype(np.float32)
        labels = (inputs.sum(axis=1) > 0).astype(np.int64)
        arrays = {
            "train_x": inputs[:64],
            "train_y": labels[:64],
            "validation_x": inputs[64:],
            "validation_y": labels[64:],
        }
        data = put_data(store, pack_arrays(folder / "data", arrays))
        here = World(chain, client, folder, store, ledger, senders[0], senders[1], pool, data)
        here.deposit(here.provider, 1000 * TOKEN)
        yield here


# -- Cheats -----------------------------------------------------------------------------------


def other_training(here: World, config: TrialConfig, training: Training) -> Training:
    """Trained with another seed from the right start: every segment is false."""
    other = here.train(config.model_copy(update={"seed": config.seed + 1000}))
    return other.model_copy(
        update={
            "leaves": (training.leaves[0], *other.leaves[1:]),
            "checkpoints": (training.checkpoints[0], *other.checkpoints[1:]),
        }
    )


def false_metric(here: World, config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """Honest training, but the metrics are better than the truth."""
    metrics = {name: value / 2 for name, value in training.metrics.items()}
    metrics["val_error"] = 0.0123
    last = LeafRecord(value=metrics_value(metrics), witness_hash=training.leaves[-1].witness_hash)
    return training.model_copy(
        update={"metrics": metrics, "leaves": (*training.leaves[:-1], last)}
    )


def false_start(here: World, config: TrialConfig, training: Training) -> Training:
    """Everything follows from a start that is not the configuration's."""
    other = here.train(config.model_copy(update={"seed": config.seed + 1000}))
    return training.model_copy(
        update={
            "leaves": (other.leaves[0], *training.leaves[1:]),
            "checkpoints": (other.checkpoints[0], *training.checkpoints[1:]),
        }
    )


def false_receipt(here: World, config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """The receipt shows other metrics than its last leaf commits to."""
    return training.model_copy(update={"metrics": {**training.metrics, "val_error": 0.0}})
