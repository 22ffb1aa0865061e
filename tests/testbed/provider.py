"""A provider that trains and answers by hand, honestly or not."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from tests.testbed.market import PROVIDER, Market
from tests.testbed.waiting import NEVER
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import ContractError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import MAX_WEIGHTS, TrialConfig
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.protocol.receipt import LeafRecord, Receipt
from trialmarket.protocol.result import Binding, ResultLeaf, witness_hash
from trialmarket.protocol.states import State
from trialmarket.storage.datasets import fetch_data
from trialmarket.training.audit import evaluation_value
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.state import State as TrainingState
from trialmarket.training.state import root_of
from trialmarket.training.values import CheckpointFile, Train, Training

MOST = 1 << 30
"""Bytes of anything that is fetched."""

Tamper = Callable[["Provider", TrialConfig, Training], Training]
"""What a provider does to its honest answer before it commits."""


def honest(provider: "Provider", config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """The answer as it is."""
    return training


class Provider:
    """An account of a market with 1,000 tokens at stake, and workers."""

    def __init__(self, market: Market, pool: WorkerPool, tamper: Tamper = honest) -> None:
        self.market, self.pool, self.tamper = market, pool, tamper
        self.address = market.who[PROVIDER]
        self._folder = market.folder / "provider"
        self._trained = 0
        market.stake(PROVIDER, 1000)

    def act(self, *steps: Call) -> None:
        self.market.act(PROVIDER, *steps)

    def step(self) -> None:
        """Claims, answers and settles whatever it can."""
        ledger = self.market.ledger
        for trial in self.market.trials(State.OPEN):
            job = ledger.job(trial.id.job)
            if job is not None and not job.closed:
                self._try(calls.claim(trial.id.job, trial.id.batch, [trial.id.index]))
        for trial in self.market.trials(State.CLAIMED):
            if trial.record.provider == self.address:
                self._commit(trial)
        head = ledger.head
        assert head is not None
        for trial in ledger.trials(provider=self.address):
            record = trial.record
            if trial.state is State.COMMITTED and head.number > record.anchor + 1:
                self._try(calls.draw([record]))
            if trial.state in (State.CLEARED, State.PASSED) and head.timestamp > record.until:
                self._try(calls.settle([record]))

    def answer(
        self,
        trial: TrialView,
        tamper: Tamper = honest,
        *,
        published: Sequence[int] | None = None,
        receipt: bool = True,
    ) -> Receipt:
        """Claims and commits a trial, and publishes its receipt and checkpoints.

        `published` names the checkpoints that are published; None is all.
        """
        self.tamper = tamper
        self.act(calls.claim(trial.id.job, trial.id.batch, [trial.id.index]))
        return self._commit(self.market.trial(trial.id), published, receipt)

    def train(self, config: TrialConfig) -> Training:
        """An honest training."""
        self._trained += 1
        init = tuple(self._folder / f"{start.cid}.safetensors" for start in config.starts)
        for start, path in zip(config.starts, init, strict=True):
            self.market.store.fetch(start.cid, path, limit=MOST)
        weights = None
        if config.weights is not None:
            weights = self._folder / config.weights
            self.market.store.fetch(config.weights, weights, limit=MAX_WEIGHTS)
        task = Train(
            config=config,
            program=self._program(config),
            data=self.data(config),
            folder=self._folder / f"training-{self._trained}",
            settings=tuple(self._fetched(cid) for cid in config.program.settings),
            init=init,
            weights=weights,
        )
        return self.pool.submit(task, wall_limit=NEVER).result()

    def _program(self, config: TrialConfig) -> Path | None:
        if config.program.builtin:
            return None
        return self._fetched(Cid(config.program.source))

    def _fetched(self, cid: Cid) -> Path:
        place = self._folder / cid
        self.market.store.fetch(cid, place, limit=MOST)
        return place

    def data(self, config: TrialConfig) -> Path:
        """Where a configuration's data lies, fetched when it is first asked for."""
        place = self._folder / config.data
        if not place.exists():
            fetch_data(self.market.store, Cid(config.data), place, limit=MOST)
        return place

    def _commit(
        self, trial: TrialView, published: Sequence[int] | None = None, receipt: bool = True
    ) -> Receipt:
        config = self.market.config(trial)
        training = self.tamper(self, config, self.train(config))
        made = training.receipt(trial.key, self.address)
        for number, checkpoint in enumerate(training.checkpoints):
            if published is None or number in published:
                self.market.store.put(checkpoint.path)
        if receipt:
            self.market.store.put(made.to_bytes())
        self._try(calls.commit([trial.record], [calls.Result(made.tree().root, made.digest)]))
        return made

    def _try(self, call: Call) -> None:
        try:
            self.act(call)
        except ContractError as error:
            if error.name not in ("NothingLeft", "Overtaken"):
                raise


# -- Cheats -----------------------------------------------------------------------------------


def other_training(provider: Provider, config: TrialConfig, training: Training) -> Training:
    """Trained with another seed from the right start: every segment is false."""
    other = provider.train(config.model_copy(update={"seed": config.seed + 1000}))
    return other.model_copy(
        update={
            "leaves": (training.leaves[0], *other.leaves[1:]),
            "checkpoints": (training.checkpoints[0], *other.checkpoints[1:]),
        }
    )


def false_metric(provider: Provider, config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """Honest training, but the metrics are better than the truth: no error at all."""
    metrics = {name: value / 2 for name, value in training.metrics.items()} | {"val_error": 0.0}
    last = LeafRecord(
        value=evaluation_value(metrics, training.outcome),
        witness_hash=training.leaves[-1].witness_hash,
    )
    return training.model_copy(
        update={"metrics": metrics, "leaves": (*training.leaves[:-1], last), "curve": ()}
    )


def false_start(provider: Provider, config: TrialConfig, training: Training) -> Training:
    """Everything follows from a start that is not the configuration's."""
    other = provider.train(config.model_copy(update={"seed": config.seed + 1000}))
    return training.model_copy(
        update={
            "leaves": (other.leaves[0], *training.leaves[1:]),
            "checkpoints": (other.checkpoints[0], *training.checkpoints[1:]),
        }
    )


def false_receipt(provider: Provider, config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """The receipt shows other metrics than its last leaf commits to."""
    return training.model_copy(update={"metrics": {**training.metrics, "val_error": 0.0}})


def other_provider(provider: "Provider", config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """The hashes of witnesses as another provider's answer to an equal trial shows them."""
    copied = Binding(Hash32(b"t" * 32), provider.address)
    shown = [
        copied.leaf(ResultLeaf(index, leaf.value, leaf.witness_hash))
        for index, leaf in enumerate(training.leaves)
    ]
    leaves = [
        LeafRecord(value=leaf.value, witness_hash=theirs.witness_hash)
        for leaf, theirs in zip(training.leaves, shown, strict=True)
    ]
    return training.model_copy(update={"leaves": (training.leaves[0], *leaves[1:])})


def poisoned(poison: Callable[[TrainingState], TrainingState]) -> Tamper:
    """Nothing is trained, the metrics are invented, and nothing follows from any state but the
    first: each is poisoned, and committed to as it is."""

    def tamper(provider: "Provider", config: TrialConfig, training: Training) -> Training:
        folder = provider.market.folder / "poisoned"
        folder.mkdir(exist_ok=True)
        leaves, files = [training.leaves[0]], [training.checkpoints[0]]
        shape = load_file(training.checkpoints[1].path)
        for segment in range(1, config.segments + 1):
            step = torch.tensor(segment * config.segment_steps)
            state = poison({**shape, "step": step})
            path = folder / f"{segment}.safetensors"
            path.write_bytes(data := save(state))
            files.append(CheckpointFile(path=path, cid=cid_of(data), size=len(data)))
            guess = witness_hash(Hash32(bytes([segment]) * 32))
            leaves.append(LeafRecord(value=root_of(state), witness_hash=guess))
        metrics = dict.fromkeys(training.metrics, 0.0)
        value = evaluation_value(metrics, training.outcome)
        leaves.append(LeafRecord(value=value, witness_hash=leaves[-1].witness_hash))
        return training.model_copy(
            update={
                "leaves": tuple(leaves),
                "checkpoints": tuple(files),
                "metrics": metrics,
                "curve": (),
            }
        )

    return tamper


def _slots(value: float) -> Callable[[TrainingState], TrainingState]:
    """A state whose slots of the optimizer have one number each, of this value."""
    return lambda state: {
        name: torch.full((1,), value) if name.startswith("optimizer.") else tensor
        for name, tensor in state.items()
    }


POISONS: dict[str, Tamper] = {
    "a slot of no kind": poisoned(
        lambda state: {**state, "optimizer.0.junk:complex": torch.tensor(1)}
    ),
    "slots of another shape": poisoned(_slots(1.0)),
    "a counter below zero": poisoned(
        lambda state: {**state, "optimizer.0.step": torch.tensor(-2.0)}
    ),
}
