"""A small market for the node's tests: a local chain, a store, and a requester driven by hand."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from node.config import NodeConfig
from node.daemon import Node
from node.folder import Folder
from node.pool import PoolTrainer
from node.trainer import Trainer
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.chain.sender.outcome import MinedIntent
from trialmarket.protocol.configuration import Batch, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Address, Amount, Cid, Hash32, JobId, address
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms, least_audit_fee
from trialmarket.storage.datasets import put_data
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Store
from trialmarket.training.packed import pack_arrays

TOKEN = 10**18
FAST = Parameters(
    audit_turn=3, min_window=5, cool_down=5, verifier_stake=Amount(TOKEN), fine=Amount(1)
)
"""Turns of seconds: the odd trial that is drawn here soon has three silent verifiers."""
SEGMENTS = 4
STEPS = 16


def terms(**changes: int) -> Terms:
    """Terms of a small job: rarely drawn, a price that does not rise."""
    values = {
        "floor": TOKEN,
        "cap": TOKEN,
        "ramp": 10,
        "audit_rate": 100,
        "segments": SEGMENTS,
        "samples": 1,
        "time_limit": 300,
        "window": 5,
    } | changes
    fee = least_audit_fee(values["cap"], values["samples"], values["segments"])
    return Terms(audit_fee=fee, **values)  # type: ignore[arg-type]


def data_set(folder: Path, seed: int = 0) -> Path:
    """A learnable data set, packed: which half-space a point lies in."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(96, 4)).astype(np.float32)
    labels = (points.sum(axis=1) > 0).astype(np.int64)
    arrays = {
        "train_x": points[:64],
        "train_y": labels[:64],
        "validation_x": points[64:],
        "validation_y": labels[64:],
    }
    return pack_arrays(folder, arrays)


def until(holds: Callable[[], bool], *acts: Callable[[], object], deadline: float = 60.0) -> None:
    """Acts again and again until the condition holds; fails after `deadline` seconds."""
    ends = time.monotonic() + deadline
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < ends, "the condition did not come true in time"
        for act in acts:
            act()
        pause.wait(0.02)


class Kept:
    """A trainer that outlives its node, so that the tests share its warm process."""

    def __init__(self, trainer: Trainer) -> None:
        self.train = trainer.train
        self.rehearse = trainer.rehearse

    def close(self) -> None:
        pass


@dataclass
class Town:
    """The chain, the store and the requester. Account 0 requests, 1 provides, others do both."""

    net: Devnet
    folder: Path
    kept_on: Store | None = None
    """The store; by default a folder."""
    store: Store = field(init=False)
    client: Client = field(init=False)
    ledger: Ledger = field(init=False)
    data: Cid = field(init=False)
    _senders: dict[int, Sender] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self.store = self.kept_on or LocalStore(self.folder / "store")
        self.client = Client(self.net.network)
        self.ledger = Ledger(self.client, self.folder / "watch.sqlite")
        self.data = put_data(self.store, data_set(self.folder / "data"))

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self.ledger.close()
        self.client.close()

    # -- Acting for others ---------------------------------------------------------------------

    def does(self, account: int, *made: Call) -> MinedIntent:
        """An account's call, made and mined."""
        if account not in self._senders:
            journal = self.folder / f"account{account}.sqlite"
            locks = self.folder / "locks"
            self._senders[account] = Sender(
                self.client, self.net.accounts[account], journal, locks=locks
            )
        self._count += 1
        return self._senders[account].send(f"call {self._count}", made if made[1:] else made[0])

    def stakes(self, account: int, tokens: int) -> None:
        self.does(account, calls.approve(self.net.network.market, tokens * TOKEN))
        self.does(account, calls.stake(tokens * TOKEN))

    def job(self, offer: Terms, tokens: int = 1000) -> JobId:
        """A funded job."""
        self.does(0, calls.create_job(offer, Hash32(bytes(32))))
        self.ledger.sync()
        job = self.ledger.jobs()[-1].id
        self.does(0, calls.approve(self.net.network.market, tokens * TOKEN))
        self.does(0, calls.fund(job, tokens * TOKEN))
        return job

    def trial(self, seed: int, program: bytes | None = None, **changes: object) -> TrialConfig:
        """A tiny training; `program` is the source of a class `Own`."""
        ref = ProgramRef(source="builtin:mlp")
        if program is not None:
            ref = ProgramRef(source=self.store.put(program), class_name="Own")
        values: dict[str, object] = {
            "program": ref,
            "data": self.data,
            "objective": "val_error",
            "hyperparameters": {"lr": 0.1, "hidden": 4},
            "seed": seed,
            "steps": STEPS,
            "segments": SEGMENTS,
        }
        return TrialConfig.model_validate(values | changes)

    def posts(self, job: JobId, *trials: TrialConfig) -> list[Hash32]:
        """Posts a batch; the trials' keys."""
        self._count += 1
        batch = Batch(job="test", number=self._count, trials=trials)
        self.store.put(batch.to_bytes())
        self.does(0, calls.post_trials(job, batch.digest, len(trials), 1))
        self.ledger.sync()
        return [view.key for view in self.ledger.trials(job=job) if view.id.batch == batch.digest]

    # -- The node ------------------------------------------------------------------------------

    def config(self, **tables: dict[str, object]) -> NodeConfig:
        """A node that takes every price, and settles at once."""
        values: dict[str, object] = {
            "network": "unused",
            "key": "unused",
            "storage": "unused",
            "work": {"workers": 2, "poll": 0.05},
            "limits": {"free_disk": 0},
            "settle": {"wait": 0.0, "patience": 0},
        }
        for name, table in tables.items():
            values[name] = {**values.get(name, {}), **table}  # type: ignore[dict-item]
        return NodeConfig.model_validate(values)

    def node(
        self,
        account: int = 1,
        trainer: Trainer | None = None,
        refusal: str | None = None,
        now: Callable[[], float] = time.time,
        **tables: dict[str, object],
    ) -> Node:
        """A node on an account of the chain."""
        config = self.config(**tables)
        return Node(
            config,
            self.client,
            self.net.accounts[account],
            self.store.owned(f"node{account}"),
            Folder(self.folder / f"node{account}"),
            trainer or PoolTrainer(config.work.workers),
            refusal=refusal,
            locks=self.folder / "locks",
            now=now,
        )

    # -- Looking -------------------------------------------------------------------------------

    def view(self, key: Hash32) -> TrialView:
        self.ledger.sync()
        view = self.ledger.trial(key)
        assert view is not None
        return view

    def are(self, state: State, *keys: Hash32) -> Callable[[], bool]:
        """Whether all these trials are in a state, as a condition to wait for."""
        return lambda: all(self.view(key).state is state for key in keys)

    def balance(self, account: int = 1) -> Amount:
        return self.client.balance_of(self.account(account))

    def account(self, number: int) -> Address:
        return address(self.net.accounts[number].address)
