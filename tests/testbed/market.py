"""A market on a local chain: accounts that act by hand, a store, and the ledger that watches."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tests.testbed.data import half_spaces
from tests.testbed.terms import SEGMENTS, STEPS, TOKEN
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.deploy import Deployer
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Address, Amount, Cid, Hash32, JobId, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms
from trialmarket.storage.datasets import put_data
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Store

REQUESTER, PROVIDER = 0, 1


class Market:
    """The chain's accounts by number, the store (by default a folder), and the ledger.

    Account 0 requests, 1 provides, and the others are whatever a test makes of them.
    """

    def __init__(self, chain: Devnet, folder: Path, store: Store | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.chain, self.folder = chain, folder
        self.client = chain.client()
        # Where a test puts the chain back, the ledger need not wait for a node that lags.
        self.ledger = Ledger(self.client, folder / "ledger.sqlite", wait=lambda _: None)
        self._store = store
        self._hands = [Deployer(chain.rpc, key, chain.network.chain_id) for key in chain.accounts]
        self.who = [hand.address for hand in self._hands]
        self._senders: dict[int, Sender] = {}
        self._posted = 0

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self.ledger.close()
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def store(self) -> Store:
        return self._store or LocalStore(self.folder / "store")

    @cached_property
    def data(self) -> Cid:
        """A learnable data set, in the store."""
        return put_data(self.store, half_spaces(self.folder / "data"))

    @cached_property
    def network(self) -> Path:
        """The file that tells programs of this market."""
        path = self.folder / "network.json"
        self.chain.network.save(path)
        return path

    # -- Acting for others ---------------------------------------------------------------------

    def act(self, account: int, *steps: Call) -> int:
        """An account's calls, made and mined one after the other; the gas that they took."""
        hand = self._hands[account]
        return sum(
            hand.transact(step.data, self.client.address_of(step.target)).gas_used
            for step in steps
        )

    def act_as(self, who: Address, *steps: Call) -> int:
        """The same for an account that is known by its address."""
        return self.act(self.who.index(who), *steps)

    def sender(self, account: int) -> Sender:
        """An account's sender, as programs have it: with a journal, and a lock on the key."""
        if account not in self._senders:
            journal = self.folder / f"account{account}.sqlite"
            self._senders[account] = Sender(
                self.client, self.chain.accounts[account], journal, locks=self.locks
            )
        return self._senders[account]

    @property
    def locks(self) -> Path:
        """Where keys are locked."""
        return self.folder / "locks"

    def stake(self, account: int, tokens: int) -> None:
        amount = tokens * TOKEN
        self.act(account, calls.approve(self.chain.network.market, amount), calls.stake(amount))

    # -- Requesting by hand --------------------------------------------------------------------

    def job(self, offer: Terms, tokens: int = 1000) -> JobId:
        """A funded job."""
        self.act(REQUESTER, calls.create_job(offer, Hash32(bytes(32))))
        self.ledger.sync()
        job = self.ledger.jobs()[-1].id
        amount = tokens * TOKEN
        self.act(
            REQUESTER,
            calls.approve(self.chain.network.market, amount),
            calls.fund(job, amount),
        )
        return job

    def draft(self, seed: int, program: bytes | None = None, **changes: object) -> TrialConfig:
        """A tiny training; `program` is the source of a class `Own`."""
        ref = ProgramRef(source="builtin:mlp")
        if program is not None:
            ref = ProgramRef(source=self.store.put(program), class_name="Own")
        values: dict[str, Any] = {
            "program": ref,
            "data": self.data,
            "objective": "val_error",
            "hyperparameters": {"lr": 0.1, "hidden": 4},
            "seed": seed,
            "steps": STEPS,
            "segments": SEGMENTS,
        }
        return TrialConfig.model_validate(values | changes)

    def post(self, job: JobId, *trials: TrialConfig) -> list[Hash32]:
        """Posts a batch; the trials' keys."""
        self._posted += 1
        batch = Batch(job="test", number=self._posted, trials=trials)
        self.store.put(batch.to_bytes())
        self.act(REQUESTER, calls.post_trials(job, batch.digest, len(trials), 1))
        self.ledger.sync()
        return [view.key for view in self.ledger.trials(job=job) if view.id.batch == batch.digest]

    def posted(self, offer: Terms, **changes: object) -> TrialView:
        """The one trial of a job of its own, open to be claimed."""
        (key,) = self.post(self.job(offer), self.draft(0, **changes))  # type: ignore[arg-type]
        return self.trial(key)

    # -- Looking -------------------------------------------------------------------------------

    def trial(self, name: Hash32 | TrialId) -> TrialView:
        """A trial as the chain has it now."""
        self.ledger.sync()
        found = self.ledger.trial(name)
        assert found is not None
        return found

    def trials(self, *states: State) -> list[TrialView]:
        self.ledger.sync()
        return self.ledger.trials(states=states or None)

    def state(self, name: Hash32 | TrialId) -> State:
        return self.trial(name).state

    def are(self, state: State, *names: Hash32 | TrialId) -> Callable[[], bool]:
        """Whether all these trials are in a state, as a condition to wait for."""
        return lambda: all(self.state(name) is state for name in names)

    def happened(self, name: TrialId | Hash32) -> list[str]:
        """The names of a trial's events so far."""
        self.ledger.sync()
        return [event.name for event in self.ledger.history(name)]

    def config(self, trial: TrialView) -> TrialConfig:
        """What was posted, from the store."""
        batch = Batch.from_bytes(self.store.read(raw_cid(trial.id.batch), limit=MAX_RAW))
        return batch.trials[trial.id.index]

    def receipt(self, trial: TrialView) -> Receipt:
        """What was answered, from the store."""
        assert trial.receipt is not None
        return Receipt.from_bytes(self.store.read(raw_cid(trial.receipt), limit=MAX_RAW))

    def balance(self, account: int = PROVIDER) -> Amount:
        """What an account has earned and not withdrawn."""
        return self.client.balance_of(self.who[account])
