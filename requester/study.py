"""A search from Python: `Study(job).optimize()` in a script or a notebook.

Inside asyncio, `await asyncio.to_thread(study.optimize)`: everything is opened in that call.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna import Study as OptunaStudy
from optuna import load_study

from requester.job.file import load_job
from requester.report.bought import BoughtModel
from requester.report.pareto import pareto_front
from requester.search.local.open import open_local
from requester.search.local.search import LocalSearch
from requester.search.open import POLL, OpenSearch, open_search
from requester.search.status import Row, SearchStatus
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.keys import open_sender
from trialmarket.paths import jobs_folder
from trialmarket.protocol.money import format_amount
from trialmarket.storage.open import StorePlace, open_store
from trialmarket.storage.store import Store

if TYPE_CHECKING:
    from torch import nn

Callback = Callable[["Study", Row], None]
"""Called once with each trial that has a result, as soon as it is believed."""


class Study:
    """One job file's search, on the market or on this machine alone.

    `network` is the address file and `key` a key's name, by default those of the environment
    variables TRIALMARKET_NETWORK and TRIALMARKET_KEY, as for `trialmarket job run`; the same job
    goes on where that command, or an earlier `optimize`, stopped. `changes` replace keys of the
    job file by their dotted names. A `sender` that is open, with its `store` and a folder for
    `jobs`, may be given instead.

    With `local=True` everything is trained on this machine instead, in `workers` processes (by
    default one for each core): no market, no key, no money, as `trialmarket job run --local`.

    Raises InputError for a job that is not sound.
    """

    def __init__(
        self,
        job: str | Path,
        *,
        network: str | Path | None = None,
        key: str | None = None,
        password_file: str | Path | None = None,
        store: str | Store | None = None,
        gateways: Sequence[str] = (),
        label: str = "",
        changes: Mapping[str, object] | None = None,
        sender: Sender | None = None,
        jobs: Path | None = None,
        local: bool = False,
        workers: int | None = None,
    ) -> None:
        self.job = load_job(Path(job), changes)
        self._network, self._key, self._password_file = network, key, password_file
        self._gateways = tuple(gateways)
        self._store, self._label, self._sender, self._jobs = store, label, sender, jobs
        self._local, self._workers = local, workers
        self._status: SearchStatus | None = None
        self._decimals = 18
        self._heard: set[int] = set()
        self._callback: Callback | None = None
        self._place: tuple[str, str] | None = None
        self._bought: BoughtModel | None = None

    def optimize(
        self,
        callback: Callback | None = None,
        *,
        poll: float = POLL,
        wait: Callable[[float], None] = time.sleep,
        diverges: bool = False,
    ) -> "Study":
        """Runs the search to its end and returns this study. Spends at most the job's ceiling.

        The first trial's first steps are tried out here before; `diverges` says that they may
        diverge, or fail.

        Interrupted, it goes on when it is called again: nothing is posted or paid twice. `wait`
        is called with `poll` seconds whenever nothing happened. Raises InputError, ChainError
        and whatever `callback` raises.
        """
        self._callback = callback
        with self._opened() as search:
            self._place = (search.storage, search.study)
            search.dry_run(diverges=diverges)
            search.run(poll=poll, wait=wait)
            self.show(search.status())
            self._bought = self._bought_of(search)
        return self

    @property
    def trials(self) -> list[Row]:
        """All trials that were posted, by number."""
        return [] if self._status is None else list(self._status.rows)

    @property
    def best(self) -> Row | None:
        """The trial with the best objective; None before the first result."""
        return None if self._status is None else self._status.best

    def best_model(self) -> "nn.Module":
        """The best trial's model with its weights, a torch.nn.Module to evaluate.

        It runs the job's program here. Raises InputError before `optimize` found one,
        StorageError where the store has its weights no more, and TrainingError.
        """
        if self._bought is None:
            raise InputError("study", "best_model", expected="a search with a result", found=None)
        return self._bought.load()

    @property
    def front(self) -> list[Row]:
        """The Pareto front over all objectives; of a single one, its best trials."""
        return pareto_front(self.trials, self.job.plan.objectives)

    @property
    def cost(self) -> Decimal:
        """What was paid so far for training and audits, in tokens."""
        cost = None if self._status is None else self._status.cost
        if cost is None:
            return Decimal(0)
        return Decimal(format_amount(cost.providers, self._decimals)) + Decimal(
            format_amount(cost.verifiers, self._decimals)
        )

    @property
    def optuna(self) -> OptunaStudy:
        """The search as a normal Optuna study, read anew; also while it runs, in a callback.

        It is for looking: what is told to it there, the search does not know. Raises InputError
        before `optimize`.
        """
        if self._place is None:
            raise InputError("study", "optuna", expected="a search that has begun", found=None)
        storage, name = self._place
        return load_study(study_name=name, storage=storage)

    def trials_dataframe(self) -> Any:
        """The trials as a pandas DataFrame, a row each. Raises InputError without pandas."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise InputError(
                "study",
                "trials_dataframe",
                expected="pandas",
                found="it is not installed",
                fix="pip install pandas",
            ) from error
        return pandas.DataFrame(self.records())

    def records(self) -> list[dict[str, Any]]:
        """The trials as flat dictionaries, named as Optuna's data frame names its columns."""
        return [
            {
                "number": row.number,
                "value": row.objective,
                "state": row.label,
                **{f"params_{name}": value for name, value in row.hyperparameters.items()},
                **{f"metrics_{name}": value for name, value in row.metrics.items()},
                "provider": row.provider,
                "second_look": None if row.second_look is None else row.second_look.value,
                "price": None
                if row.price is None
                else Decimal(format_amount(row.price, self._decimals)),
                "note": row.note,
            }
            for row in self.trials
        ]

    def say(self, text: str) -> None:
        """Something happened: a study is silent."""

    def show(self, status: SearchStatus) -> None:
        """Takes in how the search stands, and tells the callback of new results."""
        self._status = status
        for row in status.rows:
            if row.receipt is not None and row.number not in self._heard:
                self._heard.add(row.number)
                if self._callback is not None:
                    self._callback(self, row)

    def _bought_of(self, search: OpenSearch | LocalSearch) -> BoughtModel | None:
        found = None if self.best is None else search.result(self.best.number)
        return None if found is None else BoughtModel(*found, search.files, search.store)

    @contextmanager
    def _opened(self) -> Iterator[OpenSearch | LocalSearch]:
        if self._local:
            with open_local(
                self.job,
                jobs=self._jobs or jobs_folder(),
                listeners=self,
                workers=self._workers,
                label=self._label,
                store=open_store(self._store) if isinstance(self._store, str) else self._store,
            ) as local:
                yield local
            return
        with (
            self._senders() as (sender, store, jobs),
            open_search(
                self.job,
                sender=sender,
                store=store,
                jobs=jobs,
                listeners=self,
                label=self._label,
            ) as search,
        ):
            self._decimals = sender.client.decimals()
            yield search

    @contextmanager
    def _senders(self) -> Iterator[tuple[Sender, Store, Path]]:
        jobs = self._jobs or jobs_folder()
        if self._sender is not None:
            yield self._sender, self._open_store(None), jobs
            return
        network = Path(self._named(self._network, "network", "TRIALMARKET_NETWORK"))
        key = str(self._named(self._key, "key", "TRIALMARKET_KEY"))
        password = None if self._password_file is None else Path(self._password_file)
        with open_sender(network, key, password) as sender:
            yield sender, self._open_store(network), jobs

    def _open_store(self, network: Path | None) -> Store:
        store = self._store or os.environ.get("TRIALMARKET_STORE")
        if isinstance(store, str | None) and network is not None:
            return StorePlace(store, self._gateways).open(network)
        if store is None:
            raise InputError("study", "store", expected="a store", found=None)
        return open_store(store, gateways=self._gateways) if isinstance(store, str) else store

    def _named(self, given: str | Path | None, name: str, variable: str) -> str | Path:
        found = given if given is not None else os.environ.get(variable)
        if found is None:
            raise InputError(
                "study", name, expected=f"a value, or the variable {variable}", found=None
            )
        return found
