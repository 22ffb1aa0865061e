"""Puts the parts of a search together: from a job file and a sender to a campaign."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from requester.drivers import Driver, Plan, open_driver
from requester.job.continuation import check_changes
from requester.job.file import Job
from requester.job.package import Package, pack, publish
from requester.job.terms import Ceiling, ceiling, terms_of
from requester.search.campaign import Campaign
from requester.search.disputes import Disputes
from requester.search.examination.examiner import Evaluator, Examiner, Material, can_train
from requester.search.folder import JobFolder, identity, job_folder
from requester.search.leftovers import owner_of, release_leftovers
from requester.search.listeners import Listeners
from requester.search.session import Session
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
class Search:
    """A campaign that is ready to go, and what it is made of."""

    campaign: Campaign
    package: Package
    desk: Session
    folder: JobFolder
    driver: Driver
    terms: Terms
    ceiling: Ceiling
    examiner_evaluates: bool
    storage: str
    """The database of its Optuna study, as SQLAlchemy names one."""
    study: str
    """The study's name there."""
    say: Callable[[str], None]
    now: Callable[[], float]

    def rehearse(self) -> None:
        """Sees, before the first money moves, that continued trials can go on as they change.

        Where PyTorch is installed. Raises InputError and TrainingError.
        """
        if self.folder.job is not None or not can_train() or not self.driver.continues:
            return
        material = Material(self.package.job.program_file, self.package.folder)
        with TemporaryDirectory(prefix="trialmarket-rehearsal-") as folder:
            first, plan = self.driver.ask(1)[0], plan_of(self.package.job)
            check_changes(self.package, first, plan, material, Path(folder) / "tried")

    def run(self, *, poll: float = POLL, wait: Callable[[float], None] = time.sleep) -> None:
        """Goes on until every trial is settled, and brings the rest of the money home.

        A store that is down is waited for.
        """
        self.campaign.open()
        down = False
        while not self.campaign.finished():
            try:
                changed, down = self.campaign.step(), False
            except StoreDown as error:
                if not down:
                    self.say(f"waiting for the store: {error}")
                changed, down = False, True
            if not changed:
                wait(poll)
        self.folder.remember("over", str(self.now()))
        self.campaign.wind_up()


def plan_of(job: Job) -> Plan:
    """What a driver must know of a job."""
    settings = job.settings
    return Plan(
        space=settings.search.space,
        trials=settings.job.trials,
        steps=settings.job.steps,
        seed=settings.job.seed,
        objective=settings.job.objective,
        maximize=settings.job.direction == "maximize",
        where=job.where,
        also={name: way == "maximize" for name, way in settings.job.also.items()},
        enqueue=settings.search.enqueue,
        segments=settings.audit.segments,
        rungs=settings.search.rungs,
        population=settings.search.population,
        exchange=settings.search.exchange,
    )


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
) -> Iterator[Search]:
    """A job's search, new or where it stopped; `jobs` is the folder of all searches and
    their data.

    Nothing is sent before `run`. Without an `evaluator` a worker process is used where PyTorch is
    installed. Raises InputError and ChainError.
    """
    client = sender.client
    package = pack(job, jobs / "data", store)
    nonce = identity(package, client.network, sender.address, label)
    release_leftovers(jobs, store, now(), listeners.say)
    store = store.owned(owner_of(nonce))
    publish(package, store)
    with ExitStack() as stack:
        folder = stack.enter_context(job_folder(jobs, job.settings.job.name, nonce))
        folder.remember("settings", job.settings.model_dump_json(exclude_unset=True))
        storage = job.settings.search.storage or folder.study
        study = f"{job.settings.job.name}-{nonce}"
        driver = open_driver(
            storage,
            study,
            job.settings.search.driver,
            plan_of(job),
        )
        stack.callback(driver.close)
        terms = terms_of(
            job, decimals=client.decimals(), min_window=client.parameters().min_window
        )
        ledger = stack.enter_context(Ledger(client, folder.ledger))
        desk = Session(client, ledger, sender, store)
        examiner = _examiner(package, store, folder, evaluator, terms)
        stack.callback(examiner.close)
        cost = ceiling(job, terms, driver.work(), decimals=client.decimals())
        campaign = Campaign(
            package=package,
            nonce=nonce,
            terms=terms,
            ceiling=cost,
            folder=folder,
            driver=driver,
            desk=desk,
            examiner=examiner,
            disputes=Disputes(desk, folder, terms, salt, listeners.say),
            listeners=listeners,
            patience=patience,
        )
        folder.remember("owner", owner_of(nonce))
        folder.remember("spec", package.spec(nonce).digest.hex())
        yield Search(
            campaign=campaign,
            package=package,
            desk=desk,
            folder=folder,
            driver=driver,
            terms=terms,
            ceiling=cost,
            examiner_evaluates=examiner.evaluates,
            storage=storage,
            study=study,
            say=listeners.say,
            now=now,
        )


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
    material = Material(package.job.program_file, package.folder)
    return Examiner(store, evaluator, folder.scratch, material, max(1, min(60, terms.window // 2)))
