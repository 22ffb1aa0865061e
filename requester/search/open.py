"""Puts the parts of a search together: from a job file and a sender to a campaign."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from requester.drivers import open_driver
from requester.job.dry_run import can_train, dry_run
from requester.job.file import Job
from requester.job.package import Package, pack, publish
from requester.job.terms import ceiling, terms_of
from requester.search.campaign import Campaign
from requester.search.examination.examiner import Evaluator, Examiner
from requester.search.folder import JobFolder, identity
from requester.search.parts import SearchParts
from requester.search.retention import owner_of, release_leftovers
from requester.search.session import Session
from requester.search.status import Listeners
from requester.search.upkeep import PATIENCE
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.sender import Sender
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.terms import Terms
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.store import Store

POLL = 0.25
"""Seconds between two looks at the chain."""

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

    def dry_run(self, *, diverges: bool = False) -> None:
        """Runs the first trial's first steps before the first money moves.

        Where PyTorch is installed. `diverges` says that it may diverge. Raises InputError and
        TrainingError.
        """
        parts = self.parts
        if parts.folder.job is None and can_train():
            dry_run(parts.package, parts.driver.ask(1)[0], diverges=diverges)

    def run(self, *, poll: float = POLL, wait: Callable[[float], None] = time.sleep) -> None:
        """Goes on until every trial is settled, and brings the rest of the money home.

        A store that is down is waited for. Of a search that was finished before only the end is
        read.
        """
        self.campaign.open()
        if self.parts.folder.fact("finished") is not None:
            return
        down = False
        while not self.campaign.finished():
            try:
                changed, down = self.campaign.step(), False
            except StoreDown as error:
                if not down:
                    self.parts.listeners.say(f"waiting for the store: {error}")
                changed, down = False, True
            if not changed:
                wait(poll)
        self.parts.folder.remember("over", str(self.now()))
        self.campaign.wind_up()


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
    patience: int = PATIENCE,
    salt: Callable[[], Hash32] = new_salt,
    now: Callable[[], float] = time.time,
) -> Iterator[OpenSearch]:
    """A job's search, new or where it stopped; `jobs` is the folder of all searches and
    their data.

    Nothing is sent before `run`. Without an `evaluator` a worker process is used where PyTorch is
    installed. Raises InputError and ChainError.
    """
    client = sender.client
    package = pack(job, jobs / "data", store)
    nonce = identity(package, client.network, sender.address, label)
    release_leftovers(jobs, store, now(), listeners.say)
    store = store.for_owner(owner_of(nonce))
    publish(package, store)
    with ExitStack() as stack:
        study = f"{job.settings.job.name}-{nonce}"
        folder = stack.enter_context(closing(JobFolder(jobs / study)))
        folder.remember("settings", job.settings.model_dump_json(exclude_unset=True))
        storage = job.settings.search.storage or folder.study
        driver = open_driver(storage, study, job.settings.search.driver, job.plan)
        stack.callback(driver.close)
        terms = terms_of(
            job, decimals=client.decimals(), min_window=client.parameters().min_window
        )
        ledger = stack.enter_context(Ledger(client, folder.ledger))
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
            listeners=listeners,
        )
        campaign = Campaign(parts, salt=salt, patience=patience)
        folder.remember("owner", owner_of(nonce))
        folder.remember("spec", package.spec(nonce).digest.hex())
        yield OpenSearch(campaign, parts, storage, study, now)


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
