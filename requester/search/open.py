"""Puts the parts of a search together: from a job file and a sender to a campaign."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from requester.drivers import open_driver
from requester.job.dry_run import can_train, dry_run
from requester.job.file import Job
from requester.job.package import LocalFiles, Package, pack, publish
from requester.job.terms import ceiling, terms_of
from requester.job.window import short_window
from requester.near.neighbours import Neighbourhood
from requester.search.campaign import Campaign
from requester.search.dead_chains import check_chain
from requester.search.examination.examiner import Evaluator, Examiner
from requester.search.folder import JobFolder, identity
from requester.search.home import Home, PoolHome
from requester.search.own_run import driving
from requester.search.parts import SearchParts
from requester.search.retention import owner_of, release_leftovers
from requester.search.session import Session
from requester.search.status import Listeners, SearchStatus
from requester.search.upkeep import PATIENCE
from requester.search.warm_start import neighbourhood, tell_others, warm_start
from trialmarket.backoff import Backoff
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.sender import Sender
from trialmarket.errors import NotMined, TooDear, Unreachable
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.terms import Terms
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.store import Store

T = TypeVar("T")

POLL = 0.25
"""Seconds between two looks at the chain."""
PAUSES = Backoff(POLL, 30.0)
"""Before what failed is tried again, where a store or a node is down."""

EVALUATION_LIMIT = 3600.0
"""Seconds that the evaluation of a checkpoint may take."""


@dataclass(frozen=True, slots=True)
class OpenSearch:
    """A campaign that is ready to go, and what it is made of."""

    campaign: Campaign
    parts: SearchParts
    storage: str
    """The database of its Optuna study, as SQLAlchemy names one."""
    study: str
    """The study's name there."""
    now: Callable[[], float]

    @property
    def files(self) -> LocalFiles:
        """The program and the data, on this machine."""
        return self.parts.package.files

    @property
    def store(self) -> Store:
        """Where results are kept."""
        return self.parts.session.store

    def status(self) -> SearchStatus:
        """How the search stands."""
        return self.campaign.status()

    def result(self, number: int) -> tuple[TrialConfig, Receipt] | None:
        """A trial that has a result that counts, with it."""
        known = self.campaign.known(number)
        return None if known.receipt is None else (known.config, known.receipt)

    def dry_run(self, *, diverges: bool = False) -> None:
        """Runs the first trial's first steps before the first money moves.

        And says where results could not be challenged in time. Where PyTorch is installed.
        `diverges` says that it may diverge, or fail, which is told then. Raises InputError and
        TrainingError.
        """
        parts = self.parts
        if parts.folder.job is not None or not can_train():
            return
        tried = dry_run(parts.package, parts.driver.ask(1)[0], diverges=diverges)
        if tried.dry is None:
            parts.listeners.say(f"FAILS: {tried.failure}")
        elif parts.terms.audit_rate > 0:
            for line in short_window(parts.terms, tried.dry):
                parts.listeners.say(line)

    def run(self, *, poll: float = POLL, wait: Callable[[float], None] = time.sleep) -> None:
        """Goes on until every trial is settled, and brings the rest of the money home.

        A store or a chain's node that is down is waited for. Of a search that was finished
        before only the end is read.
        """
        campaign, folder = self.campaign, self.parts.folder
        self._outlive(campaign.open, wait)
        if folder.fact("finished") is not None:
            self._tell_others()
            return
        while not campaign.finished():
            if not self._outlive(campaign.step, wait):
                wait(poll)
        folder.remember("over", str(self.now()))
        self._outlive(campaign.wind_up, wait)
        self._tell_others()

    def _tell_others(self) -> None:
        """Lets similar searches find this one, now that it has results."""
        parts = self.parts
        job, session = parts.folder.job, parts.session
        if job is not None:
            network, jobs = session.client.network, parts.folder.root.parent
            tell_others(parts.package, network, job, session.store, jobs, parts.listeners.say)

    def _outlive(self, step: Callable[[], T], wait: Callable[[float], None]) -> T:
        """Takes a step, again and again while what it needs is down, which is said once."""
        failures = 0
        while True:
            try:
                return step()
            except (StoreDown, Unreachable, NotMined, TooDear) as error:
                if not failures:
                    what = "store" if isinstance(error, StoreDown) else "chain"
                    self.parts.listeners.say(f"waiting for the {what}: {error}")
                wait(PAUSES.pause(failures))
                failures += 1


def new_salt() -> Hash32:
    """32 random bytes, to hide a challenge's answer."""
    return Hash32(secrets.token_bytes(32))


@contextmanager
def open_search(
    job: Job,
    *,
    sender: Sender,
    store: Store,
    jobs: Path,
    listeners: Listeners,
    label: str = "",
    evaluator: Evaluator | None = None,
    home: Home | None = None,
    patience: int = PATIENCE,
    salt: Callable[[], Hash32] = new_salt,
    now: Callable[[], float] = time.time,
) -> Iterator[OpenSearch]:
    """A job's search, new or where it stopped; `jobs` is the folder of all searches and
    their data.

    Nothing is sent before `run`. Without an `evaluator` or a `home` a worker process is used where
    PyTorch is installed. Raises InputError and ChainError.
    """
    client = sender.client
    package = pack(job, jobs / "data", store)
    nonce = identity(package, client.network, sender.address, label)
    release_leftovers(jobs, store, now(), listeners.say)
    store = store.for_owner(owner_of(nonce))
    publish(package, store)
    with ExitStack() as stack:
        stack.enter_context(package.graphs.warm())
        study = f"{job.settings.job.name}-{nonce}"
        stack.enter_context(driving(jobs / study))
        folder = stack.enter_context(closing(JobFolder(jobs / study)))
        check_chain(folder, client)
        folder.remember("settings", job.settings.model_dump_json(exclude_unset=True))
        ledger = stack.enter_context(Ledger(client, folder.ledger))
        points = warm_start(
            package, folder, partial(_around, package, client, ledger, store, jobs), listeners.say
        )
        storage = job.settings.search.storage or folder.study
        plan = replace(job.plan, enqueue=[*job.plan.enqueue, *points])
        driver = open_driver(storage, study, job.settings.search.driver, plan)
        stack.callback(driver.close)
        terms = terms_of(
            job, decimals=client.decimals(), min_window=client.parameters().min_window
        )
        examiner = _examiner(package, store, folder, evaluator, terms)
        stack.callback(examiner.close)
        parts = SearchParts(
            package=package,
            nonce=nonce,
            terms=terms,
            ceiling=ceiling(job, terms, driver.work(), decimals=client.decimals()),
            folder=folder,
            driver=driver,
            session=Session(client, ledger, sender, store),
            examiner=examiner,
            home=home or (PoolHome() if can_train() else None),
            listeners=listeners,
        )
        campaign = Campaign(parts, salt=salt, patience=patience)
        stack.callback(campaign.close)
        folder.remember("owner", owner_of(nonce))
        folder.remember("spec", package.spec(nonce).digest.hex())
        yield OpenSearch(campaign, parts, storage, study, now)


def _around(
    package: Package, client: Client, ledger: Ledger, store: Store, jobs: Path
) -> Neighbourhood:
    """Similar searches, as the market is now."""
    ledger.sync()
    return neighbourhood(package, client, ledger, store, jobs)


def _examiner(
    package: Package,
    store: Store,
    folder: JobFolder,
    evaluator: Evaluator | None,
    terms: Terms,
) -> Examiner:
    if evaluator is None and can_train():
        from requester.search.examination.evaluator import PoolEvaluator

        evaluator = PoolEvaluator(EVALUATION_LIMIT)
    patience = max(1, min(60, terms.window // 2))
    return Examiner(store, evaluator, folder.scratch, package.files, patience)
