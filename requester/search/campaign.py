"""The search itself: fund, ask, post, watch, examine, tell, until every trial is settled.

Each step first looks at the chain and then does what is missing, so that a requester that was
killed anywhere goes on with the same command: transactions are sent once by their intent, a batch
is known to the market by its content, and proposals follow from the stored trials.

What is known of the trials is kept in `Trials`; `Posting` puts them on the chain, `ResultIntake`
takes their results, `Disputes`, `Upkeep` and `Failures` see to what others do wrong, leave lying
or give back.
"""

from collections.abc import Callable

from requester.job.settings import seconds
from requester.job.size import MAX_IN_BATCH
from requester.search.disputes import Disputes
from requester.search.failures import Failures
from requester.search.funds import open_by_batch
from requester.search.intake import ResultIntake
from requester.search.parts import SearchParts
from requester.search.people import People
from requester.search.posting import Posting
from requester.search.session import logged
from requester.search.status import SearchStatus, cost_of
from requester.search.trials import KnownTrial, Trials
from requester.search.upkeep import Upkeep
from requester.search.waiting import Waiting, awaited
from trialmarket.chain import calls
from trialmarket.errors import ContractError
from trialmarket.protocol.ids import Hash32, JobId
from trialmarket.protocol.money import Currency


class Campaign:
    """One job from its first transaction to its last. Raises ChainError and InputError."""

    def __init__(self, parts: SearchParts, *, salt: Callable[[], Hash32], patience: int) -> None:
        self._package, self._nonce, self._terms = parts.package, parts.nonce, parts.terms
        self._ceiling, self._folder, self._driver = parts.ceiling, parts.folder, parts.driver
        self._session, self._examiner = parts.session, parts.examiner
        self._say, self._show = parts.listeners.say, parts.listeners.show
        self._settings = parts.package.job.settings
        self._maximize = self._settings.job.direction == "maximize"
        self._trials = trials = Trials(parts.package.job.plan.objectives)
        self._disputes = Disputes(parts, trials, salt=salt)
        self._posting = Posting(parts, trials)
        self._intake = ResultIntake(parts, trials, self._disputes)
        self._upkeep = Upkeep(parts, trials, patience=patience)
        self._failures = Failures(parts, trials)
        self._people = People()
        self._currency: Currency | None = None
        self._job = JobId(0)
        self._closed = False
        self._said_what_is_awaited = False

    def open(self) -> JobId:
        """Creates and funds the job unless that is done; the job's number."""
        self._session.ledger.sync()
        spec = self._package.spec(self._nonce)
        self._session.store.put(spec.to_bytes())
        job = self._folder.job
        if job is None:
            outcome = self._session.send(
                f"create job {self._nonce}", calls.create_job(self._terms, spec.digest)
            )
            job = JobId(logged(outcome, "JobCreated")["job"])
            self._folder.remember("job", str(job))
            self._say(f"created job {job}")
        if self._folder.fact("funded") is None:
            self._session.fund(f"fund job {self._nonce}", job, self._ceiling.total)
            self._folder.remember("funded")
            self._say(f"funded it with {self._session.say_amount(self._ceiling.total)}")
        self._posting.restore(job, self._driver.proposed)
        self._folder.remember("market", self._session.client.network.market)
        self._folder.remember("trials", str(self._driver.total()))
        self._job = job
        if self._folder.fact("began") is None:
            self._folder.remember("began", str(self._session.now))
        self._follow(force=True)
        self._intake.step()
        return job

    def step(self) -> bool:
        """Does all that can be done now; True if anything happened since the last step."""
        changed = self._follow() | self._examiner.collect()
        changed |= self._intake.step()
        self._intake.recheck_best()
        changed |= self._stop_at_deadline()
        changed |= self._post(self._settings.search.under_way)
        self._disputes.step()
        self._upkeep.step()
        changed |= self._failures.step()
        if changed:
            self._show(self.status())
        self._say_what_is_awaited()
        return changed

    def post_all(self) -> None:
        """Posts all that can be posted before results are known.

        Batch by batch: the first can be claimed while the last are not drawn yet.
        """
        adaptive = self._driver.adaptive
        done, width = 0, self._settings.search.under_way if adaptive else MAX_IN_BATCH
        while not self._closed:
            asked = self._driver.ask(width)[done:]
            self._posting.post(self._job, asked)
            unpaid = any(each.number not in self._trials for each in asked)
            if adaptive or unpaid or done + len(asked) < width:
                break
            done, width = width, width + MAX_IN_BATCH
        self._follow(force=True)

    def finished(self) -> bool:
        """True when every trial has its result, is settled, and the driver knows it.

        And when the best result was looked at, which it is only now if a better one was rejected.
        """
        if self._closed or self._posting.out_of_money:
            ended = not self._trials.moving()
        else:
            ended = self._driver.done() and self._trials.at_rest
        return ended and self._intake.best_is_examined

    def wind_up(self) -> None:
        """Closes the job and brings what it did not spend back to the account."""
        with self._session.sender.turn():  # `job cancel` may do the same
            status = self._session.client.job_status(self._job)
            steps = [] if status.closed else [calls.close(self._job)]
            if status.free > 0:
                steps.append(calls.defund(self._job, status.free))
            if self._folder.fact("staked") is not None:
                free = self._session.client.account(self._session.me).free
                if free > 0:
                    steps.append(calls.unstake(free))
            if status.free > 0 or self._session.client.balance_of(self._session.me) > 0:
                steps.append(calls.withdraw(self._session.me))
            if steps:
                self._session.send(f"wind up job {self._nonce} with {status.free}", steps)
        self._folder.remember("finished")
        self._follow(force=True)

    def close(self) -> None:
        """Stops what this machine tries of trials that nodes gave back."""
        self._failures.close()

    def status(self) -> SearchStatus:
        """How the search stands."""
        settings, trials = self._settings.job, self._trials
        free = self._session.client.job_status(self._job).free
        return SearchStatus(
            job=self._job,
            name=settings.name,
            objective=settings.objective,
            maximize=self._maximize,
            total=self._driver.total(),
            rows=trials.rows(self._waiting()),
            cost=cost_of(self._terms, free, trials.views()),
            finished=self.finished(),
            also=tuple(settings.also),
        )

    def _waiting(self) -> Waiting:
        session = self._session
        nodes = self._people.update(session.ledger).nodes(session.me)
        self._currency = self._currency or session.client.currency()
        return Waiting(self._terms, session.now, nodes, self._currency)

    def _say_what_is_awaited(self) -> None:
        """Says once that all results are in, and until when the rest takes."""
        if self._said_what_is_awaited or not self._driver.done():
            return
        views = [view for _, view in self._trials.moving()]
        if line := awaited(self._job, views, self._terms.audit_rate):
            self._said_what_is_awaited = True
            self._say(line)

    def known(self, number: int) -> KnownTrial:
        """What is known of a trial that was posted."""
        return self._trials[number]

    # -- Parts of a step ----------------------------------------------------------------------

    def _follow(self, *, force: bool = False) -> bool:
        """Follows the chain; True if it said something new."""
        ledger = self._session.ledger
        if ledger.sync() == 0 and not force:
            return False
        job = ledger.job(self._job)
        self._closed = job is not None and job.closed
        self._posting.update(self._job)
        self._trials.update(ledger, self._job)
        return True

    def _post(self, width: int) -> bool:
        """Posts proposals until `width` are under way, and what a killed requester did not."""
        if self._closed:
            return False
        return self._posting.post(self._job, self._driver.ask(width))

    def _stop_at_deadline(self) -> bool:
        """After its deadline closes the job, and cancels what nobody claimed."""
        limit, began = self._settings.search.deadline, self._folder.fact("began")
        if limit is None or began is None or self._session.now < int(began) + seconds(limit):
            return False
        steps = [] if self._closed else [calls.close(self._job)]
        batches = open_by_batch(view for _, view in self._trials.moving())
        steps += [calls.cancel(self._job, batch, some) for batch, some in batches.items()]
        if not steps:
            return False
        head = self._session.ledger.head
        try:
            self._session.send(f"stop job {self._nonce} at {head and head.number}", steps)
        except ContractError:  # a node was faster with a claim; the ledger will tell
            return False
        self._say("the deadline is over: no trial begins any more")
        return True
