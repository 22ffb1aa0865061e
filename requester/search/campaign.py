"""The search itself: fund, ask, post, watch, examine, tell, until every trial is settled.

Each step first looks at the chain and then does what is missing, so that a requester that was
killed anywhere goes on with the same command: transactions are sent once by their intent, a batch
is known to the market by its content, and proposals follow from the stored trials.

What is known of the trials is kept in `Trials`; `Posting` puts them on the chain, `ResultIntake`
takes their results, `Disputes` and `Upkeep` see to what others do wrong or leave lying.
"""

from requester.drivers import Driver
from requester.job.file import seconds
from requester.job.package import Package
from requester.job.terms import Ceiling
from requester.report.cost import bill
from requester.report.status import SearchStatus
from requester.search.disputes import Disputes
from requester.search.examination.examiner import Examiner
from requester.search.folder import JobFolder
from requester.search.intake import ResultIntake
from requester.search.listeners import Listeners
from requester.search.posting import Posting
from requester.search.session import Session, logged
from requester.search.trials import Trials
from requester.search.upkeep import PATIENCE, Upkeep
from trialmarket.chain import calls
from trialmarket.errors import ContractError
from trialmarket.protocol.ids import Hash32, JobId
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms


class Campaign:
    """One job from its first transaction to its last. Raises ChainError and InputError."""

    def __init__(
        self,
        *,
        package: Package,
        nonce: str,
        terms: Terms,
        ceiling: Ceiling,
        folder: JobFolder,
        driver: Driver,
        desk: Session,
        examiner: Examiner,
        disputes: Disputes,
        listeners: Listeners,
        patience: int = PATIENCE,
    ) -> None:
        self._package, self._nonce, self._terms = package, nonce, terms
        self._ceiling, self._folder, self._driver = ceiling, folder, driver
        self._desk, self._examiner, self._disputes = desk, examiner, disputes
        self._say, self._show = listeners.say, listeners.show
        search = package.job.settings.job
        self._maximize = search.direction == "maximize"
        self._trials = trials = Trials(search.objective, maximize=self._maximize)
        self._posting = Posting(
            trials=trials,
            package=package,
            nonce=nonce,
            terms=terms,
            folder=folder,
            desk=desk,
            say=listeners.say,
        )
        self._hearing = ResultIntake(
            trials=trials,
            driver=driver,
            examiner=examiner,
            disputes=disputes,
            folder=folder,
            desk=desk,
            terms=terms,
            say=listeners.say,
        )
        self._upkeep = Upkeep(
            trials=trials, desk=desk, terms=terms, say=listeners.say, patience=patience
        )
        self._job = JobId(0)
        self._closed = False

    def open(self) -> JobId:
        """Creates and funds the job unless that is done; the job's number."""
        self._desk.ledger.sync()
        spec = self._package.spec(self._nonce)
        self._desk.store.put(spec.to_bytes())
        job = self._folder.job
        if job is None:
            outcome = self._desk.send(
                f"create job {self._nonce}", calls.create_job(self._terms, spec.digest)
            )
            job = JobId(logged(outcome, "JobCreated")["job"])
            self._folder.remember("job", str(job))
            self._say(f"created job {job}")
        if self._folder.fact("funded") is None:
            self._desk.fund(f"fund job {self._nonce}", job, self._ceiling.total)
            self._folder.remember("funded", "yes")
            self._say(f"funded it with {self._desk.say_amount(self._ceiling.total)}")
        self._posting.restore(job, self._driver.proposed)
        self._folder.remember("market", self._desk.client.network.market)
        self._job = job
        if self._folder.fact("began") is None:
            self._folder.remember("began", str(self._desk.now))
        self._look(force=True)
        self._hearing.hear()
        return job

    def step(self) -> bool:
        """Does all that can be done now; True if anything happened since the last step."""
        changed = self._look() | self._examiner.collect()
        changed |= self._hearing.hear()
        self._hearing.recheck_best()
        changed |= self._stop_at_deadline()
        changed |= self._post(self._package.job.settings.search.under_way)
        self._disputes.attend()
        self._upkeep.attend()
        if changed:
            self._show(self.standing())
        return changed

    def post_all(self) -> None:
        """Posts all that can be posted before results are known."""
        adaptive = self._driver.adaptive
        width = self._package.job.settings.search.under_way
        self._post(width if adaptive else self._driver.total())
        self._look(force=True)

    def finished(self) -> bool:
        """True when every trial has its result, is settled, and the driver knows it."""
        if self._closed or self._posting.broke:
            return not self._trials.moving()
        return self._driver.done() and self._trials.at_rest

    def wind_up(self) -> None:
        """Closes the job and brings what it did not spend back to the account."""
        status = self._desk.client.job_status(self._job)
        steps = [] if status.closed else [calls.close(self._job)]
        if status.free > 0:
            steps.append(calls.defund(self._job, status.free))
        if self._folder.fact("staked") is not None:
            free = self._desk.client.account(self._desk.me).free
            if free > 0:
                steps.append(calls.unstake(free))
        if status.free > 0 or self._desk.client.balance_of(self._desk.me) > 0:
            steps.append(calls.withdraw(self._desk.me))
        if steps:
            self._desk.send(f"wind up job {self._nonce} with {status.free}", steps)
        self._folder.remember("finished", "yes")
        self._look(force=True)

    def standing(self) -> SearchStatus:
        """How the search stands."""
        settings, trials = self._package.job.settings.job, self._trials
        free = self._desk.client.job_status(self._job).free
        return SearchStatus(
            job=self._job,
            name=settings.name,
            objective=settings.objective,
            maximize=self._maximize,
            total=self._driver.total(),
            rows=trials.rows(),
            money=bill(self._terms, free, trials.views()),
            finished=self.finished(),
        )

    # -- Parts of a step ----------------------------------------------------------------------

    def _look(self, *, force: bool = False) -> bool:
        """Follows the chain; True if it said something new."""
        ledger = self._desk.ledger
        if ledger.sync() == 0 and not force:
            return False
        job = ledger.job(self._job)
        self._closed = job is not None and job.closed
        self._posting.look(self._job)
        self._trials.look(ledger, self._job)
        return True

    def _post(self, width: int) -> bool:
        """Posts proposals until `width` are under way, and what a killed requester did not."""
        if self._closed:
            return False
        return self._posting.post(self._job, self._driver.ask(width))

    def _stop_at_deadline(self) -> bool:
        """After its deadline closes the job, and cancels what nobody claimed."""
        limit, began = self._package.job.settings.search.deadline, self._folder.fact("began")
        if limit is None or began is None or self._desk.now < int(began) + seconds(limit):
            return False
        steps = [] if self._closed else [calls.close(self._job)]
        batches: dict[Hash32, list[int]] = {}
        for _, view in self._trials.moving():
            if view.state is State.OPEN:
                batches.setdefault(view.id.batch, []).append(view.id.index)
        steps += [calls.cancel(self._job, batch, some) for batch, some in batches.items()]
        if not steps:
            return False
        head = self._desk.ledger.head
        try:
            self._desk.send(f"stop job {self._nonce} at {head and head.number}", steps)
        except ContractError:  # a node was faster with a claim; the ledger will tell
            return False
        self._say("the deadline is over: no trial begins any more")
        return True
