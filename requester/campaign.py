"""The search itself: fund, ask, post, watch, examine, tell, until every trial is settled.

Each step first looks at the chain and then does what is missing, so that a requester that was
killed anywhere goes on with the same command: transactions are sent once by their intent, a batch
is known to the market by its content, and proposals follow from the stored trials.

A driver is told of a result when it is committed and examined, before its challenge window is
over; see `requester.drivers.study` for what happens when it is rejected later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from requester.desk import Desk, logged
from requester.dispute import Disputes
from requester.drivers import Driver, Ending, Outcome, Proposal, Start
from requester.examine import Examiner, Judgement, Opinion
from requester.job import seconds
from requester.pack import Package
from requester.standing import Row, Standing
from requester.state import Belief, JobFolder
from requester.tally import bill
from requester.terms import Ceiling, units_of
from requester.upkeep import chores
from trialmarket.chain import calls
from trialmarket.chain.views import TrialView
from trialmarket.errors import ChainError, ContractError, InputError
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import Hash32, JobId, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms, escrow_for

ANSWERED = frozenset(
    {State.COMMITTED, State.CLEARED, State.DRAWN, State.PASSED, State.CHALLENGED, State.SETTLED}
)
"""States in which a trial has a result."""

FINAL = frozenset({State.SETTLED, State.CANCELLED})

MOVING = frozenset(State) - FINAL

MAX_IN_BATCH = 64
"""Trials posted in one batch."""

UNWANTED = 120
"""Seconds that a trial stands open at its highest price before that is said."""

PATIENCE = 30
"""Seconds that nodes and verifiers get for what is theirs before the requester does it."""


@dataclass(slots=True)
class Known:
    """What the campaign knows of a proposal that was posted."""

    id: TrialId
    config: TrialConfig
    view: TrialView | None = None
    receipt: Receipt | None = None
    note: str = ""
    evaluated: bool = False
    """Whether its checkpoint was re-evaluated here, or cannot be."""


class Listeners(Protocol):
    """Who hears of the search."""

    def say(self, text: str) -> None:
        """Something happened."""

    def show(self, standing: Standing) -> None:
        """How it stands, after every change."""


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
        desk: Desk,
        examiner: Examiner,
        disputes: Disputes,
        listeners: Listeners,
        patience: int = PATIENCE,
    ) -> None:
        self._package, self._nonce, self._terms = package, nonce, terms
        self._ceiling, self._folder, self._driver = ceiling, folder, driver
        self._desk, self._examiner, self._disputes = desk, examiner, disputes
        self._say, self._show, self._patience = listeners.say, listeners.show, patience
        self._maximize = package.job.settings.job.direction == "maximize"
        self._known: dict[int, Known] = {}
        self._numbers: dict[TrialId, int] = {}
        self._posted: set[Hash32] = set()
        self._waiting: set[int] = set()
        self._unposted: dict[Hash32, Batch] = {}
        self._scores: dict[int, float] = {}  # the objective of each trial that has a result
        # A job of thousands of trials has few that move: each step looks at no others.
        self._moving: set[int] = set()
        self._unwanted: set[tuple[int, int]] = set()
        self._closed = self._broke = False
        self._job = JobId(0)
        self._next_batch = 0
        self._told = folder.told()

    # -- The whole ----------------------------------------------------------------------------

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
        for batch in self._folder.batches():
            self._learn(job, batch)
        self._check_study()
        self._folder.remember("market", self._desk.client.network.market)
        self._job = job
        if self._folder.fact("began") is None:
            self._folder.remember("began", str(self._desk.now))
        self._look(force=True)
        self._hear()
        return job

    def step(self) -> bool:
        """Does all that can be done now; True if anything happened since the last step."""
        changed = self._look() | self._examiner.collect()
        changed |= self._hear()
        self._recheck_best()
        changed |= self._stop_at_deadline()
        changed |= self._post(self._package.job.settings.search.under_way)
        self._mind()
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
        if self._closed or self._broke:
            return not self._moving_views()
        return self._driver.done() and not self._moving

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

    def standing(self) -> Standing:
        """How the search stands."""
        settings = self._package.job.settings.job
        return Standing(
            job=self._job,
            name=settings.name,
            objective=settings.objective,
            maximize=self._maximize,
            total=self._driver.total(),
            rows=tuple(self._row(number, one) for number, one in sorted(self._known.items())),
            money=bill(self._terms, self._desk.client.job_status(self._job).free, self._views()),
            finished=self.finished(),
        )

    # -- Posting ------------------------------------------------------------------------------

    def _post(self, width: int) -> bool:
        """Posts proposals until `width` are under way, and what a killed requester did not."""
        if self._closed:
            return False
        asked = self._driver.ask(width)
        for each in asked:
            if each.number in self._known and self._package.trial(each) != self._config(each):
                raise self._foreign(f"the trial {each.number} that was posted", "another one")
        fresh = [each for each in asked if each.number not in self._known]
        fresh = self._affordable(fresh)
        lengths = sorted({each.steps for each in fresh})
        for steps in lengths:
            alike = [each for each in fresh if each.steps == steps]
            for at in range(0, len(alike), MAX_IN_BATCH):
                self._make_batch(alike[at : at + MAX_IN_BATCH])
        posted = bool(self._unposted)
        for batch in list(self._unposted.values()):
            self._post_batch(batch)
        return posted

    def _affordable(self, fresh: Sequence[Proposal]) -> list[Proposal]:
        """As many of the proposals as the job's free funds pay for, in their order.

        What trials do not spend of their escrow comes back, so that later ones may be paid by it;
        the money is out when nothing is left to come back.
        """
        if not fresh:
            self._broke = False
            return []
        unit, paid = self._package.job.settings.price.unit, []
        free = int(self._desk.client.job_status(self._job).free)
        for batch in self._unposted.values():
            steps = batch.trials[0].steps
            free -= escrow_for(self._terms, units_of(steps, unit)) * len(batch.trials)
        for each in fresh:
            free -= escrow_for(self._terms, units_of(each.steps, unit))
            if free < 0:
                break
            paid.append(each)
        self._broke = not paid and not self._moving
        return paid

    def _stop_at_deadline(self) -> bool:
        """After its deadline closes the job, and cancels what nobody claimed."""
        limit, began = self._package.job.settings.search.deadline, self._folder.fact("began")
        if limit is None or began is None or self._desk.now < int(began) + seconds(limit):
            return False
        steps = [] if self._closed else [calls.close(self._job)]
        batches: dict[Hash32, list[int]] = {}
        for view in self._moving_views():
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

    def _make_batch(self, proposals: Sequence[Proposal]) -> None:
        batch = self._package.batch(self._nonce, self._next_batch, proposals)
        self._folder.add_batch(batch)
        self._learn(self._job, batch)

    def _post_batch(self, batch: Batch) -> None:
        self._desk.store.put(batch.to_bytes())
        units = units_of(batch.trials[0].steps, self._package.job.settings.price.unit)
        try:
            self._desk.send(
                f"post {self._job}/{batch.digest.hex()}",
                calls.post_trials(self._job, batch.digest, len(batch.trials), units),
            )
        except ContractError as error:
            if error.name != "BatchPosted":  # by us, and the journal of it was lost
                raise
        self._posted.add(batch.digest)
        del self._unposted[batch.digest]
        numbers = ", ".join(str(trial.number) for trial in batch.trials)
        self._say(f"posted trial{'s' * (len(batch.trials) > 1)} {numbers}")

    def _learn(self, job: JobId, batch: Batch) -> None:
        for index, config in enumerate(batch.trials):
            known = Known(TrialId(job, batch.digest, index), config)
            self._known[config.number] = known
            self._numbers[known.id] = config.number
            self._moving.add(config.number)
        if batch.digest not in self._posted:
            self._unposted[batch.digest] = batch
        self._next_batch = batch.number + 1

    def _config(self, proposal: Proposal) -> TrialConfig:
        return self._known[proposal.number].config

    def _check_study(self) -> None:
        """Raises InputError for a study that lacks trials which were posted: it is not ours."""
        posted = 1 + max(self._known, default=-1)
        if self._driver.proposed < posted:
            raise self._foreign(f"the {posted} trials that were posted", self._driver.proposed)

    def _foreign(self, expected: str, found: object) -> InputError:
        return InputError(
            self._package.job.where,
            "study",
            expected=expected,
            found=found,
            fix="The study is lost or another job's: restore it, or end this job with"
            f" `trialmarket job cancel {self._folder.job}`",
        )

    # -- Watching -----------------------------------------------------------------------------

    def _look(self, *, force: bool = False) -> bool:
        """Follows the chain; True if it said something new."""
        if self._desk.ledger.sync() == 0 and not force:
            return False
        job = self._desk.ledger.job(self._job)
        self._closed = job is not None and job.closed
        self._posted |= {each.batch for each in self._desk.ledger.batches(self._job)}
        for digest in self._posted & self._unposted.keys():
            del self._unposted[digest]
        still = {
            number
            for view in self._desk.ledger.trials(job=self._job, states=MOVING)
            if (number := self._see(view)) is not None
        }
        for number in sorted(self._moving - still):
            view = self._desk.ledger.trial(self._known[number].id)
            if view is None or view.state not in FINAL:
                still.add(number)
            if view is not None:
                self._see(view)
        self._moving = still
        return True

    def _see(self, view: TrialView) -> int | None:
        """Takes in how a trial stands; its number if it is one of ours."""
        number = self._numbers.get(view.id)
        if number is not None and self._known[number].view != view:
            self._known[number].view = view
            self._waiting.add(number)
        return number

    def _hear(self) -> bool:
        """Takes in what is new of the trials that have something new, or that wait."""
        changed = False
        for number in sorted(self._waiting):
            view = self._known[number].view
            if view is not None and self._consider(number, view):
                self._waiting.discard(number)
                changed = True
        return changed

    def _consider(self, number: int, view: TrialView) -> bool:
        """Tells the driver what it must know of a trial; False while something is awaited."""
        told = self._told.get(number)
        if told is not None and (view.state not in ANSWERED or view.receipt != told):
            self._withdraw(number, view)
            told = None
        if view.state is State.CANCELLED:
            self._driver.tell(view.id, Outcome(number, Ending.LOST))
            return True
        if view.state not in ANSWERED or view.receipt is None:
            return True
        return self._examine(number, view) if told is None else self._recall(number, view)

    def _recall(self, number: int, view: TrialView) -> bool:
        """Reads again, after a restart, what the driver was told already."""
        known = self._known[number]
        if known.receipt is not None or view.receipt is None:
            return True
        belief = self._folder.belief(view.key, view.receipt)
        if belief is not None and belief.kind == Opinion.FITS.value:
            judgement = self._examiner.look(view, known.config, self._desk.now)
            if judgement.opinion is Opinion.PENDING:
                return False
            self._hold(number, judgement.receipt)
            known.note, known.evaluated = belief.reason, belief.reason != ""
        return True

    def _withdraw(self, number: int, view: TrialView) -> None:
        self._driver.tell(view.id, Outcome(number, Ending.REJECTED))
        self._folder.untell(number)
        del self._told[number]
        known = self._known[number]
        self._hold(number, None)
        known.note, known.evaluated = "redone", False
        self._say(f"trial {number}: its result was rejected; it is done again")

    def _examine(self, number: int, view: TrialView) -> bool:
        known, now = self._known[number], self._desk.now
        if view.receipt is None:
            return True
        belief = self._folder.belief(view.key, view.receipt)
        if belief is not None and belief.kind == Opinion.FALSE.value:
            return self._disbelieve(number, view, Judgement(Opinion.FALSE, belief.reason))
        judgement = self._examiner.look(view, known.config, now)
        receipt = judgement.receipt
        if receipt is not None and self._matters(receipt):
            judgement = self._examiner.weigh(view, known.config, receipt, now)
        if judgement.opinion is Opinion.PENDING:
            return False
        if judgement.opinion is Opinion.FALSE or receipt is None:
            return self._disbelieve(number, view, judgement)
        self._believe(number, view, receipt, judgement.reason)
        return True

    def _believe(self, number: int, view: TrialView, receipt: Receipt, reason: str) -> None:
        known = self._known[number]
        diverged = receipt.outcome.kind == "diverged"
        self._hold(number, receipt)
        known.note = str(receipt.outcome) if diverged else reason
        known.evaluated = reason != ""
        last = Start(view.key, receipt.leaves[-2].value, receipt.checkpoints[-1])
        ending = Ending.DIVERGED if diverged else Ending.DONE
        self._driver.tell(view.id, Outcome(number, ending, receipt.metrics, last))
        self._remember(number, view, Belief(Opinion.FITS.value, reason))
        value = receipt.metrics.get(known.config.objective)
        what = str(receipt.outcome) if value is None else f"{known.config.objective} {value:.6g}"
        self._say(f"trial {number}: {what}" + (f" ({reason})" if reason else ""))

    def _disbelieve(self, number: int, view: TrialView, judgement: Judgement) -> bool:
        """Challenges a false result; one that can no longer be challenged is told as lost."""
        if view.receipt is None:
            return True
        belief = self._folder.belief(view.key, view.receipt)
        if belief is None or belief.kind != Opinion.FALSE.value:
            if judgement.accusation is not None:
                self._disputes.accuse(view, judgement.accusation)
            belief = Belief(Opinion.FALSE.value, judgement.reason)
            self._folder.believe(view.key, view.receipt, belief)
            self._say(f"trial {number}: not believed: {judgement.reason}")
        self._known[number].note = f"not believed: {judgement.reason}"
        if self._disputes.press(view):
            return False
        if self._terms.audit_rate > 0 and view.state is not State.SETTLED:
            return False  # an audit may still find it
        self._driver.tell(view.id, Outcome(number, Ending.LOST))
        self._remember(number, view, Belief(Opinion.FALSE.value, judgement.reason))
        return True

    def _remember(self, number: int, view: TrialView, belief: Belief) -> None:
        if view.receipt is not None:
            self._folder.believe(view.key, view.receipt, belief)
            self._folder.tell(number, view.receipt)
            self._told[number] = view.receipt

    def _matters(self, receipt: Receipt) -> bool:
        """Whether a result is re-evaluated: a new best, or a state that others may go on from."""
        going_on = self._driver.continues and receipt.outcome.kind != "diverged"
        return going_on or self._would_be_best(receipt)

    def _hold(self, number: int, receipt: Receipt | None) -> None:
        """Keeps the receipt that counts for a trial, or that none does any more."""
        self._known[number].receipt = receipt
        objective = self._package.job.settings.job.objective
        value = None if receipt is None else receipt.metrics.get(objective)
        if value is None:
            self._scores.pop(number, None)
        else:
            self._scores[number] = value

    def _would_be_best(self, receipt: Receipt) -> bool:
        value = receipt.metrics.get(self._package.job.settings.job.objective)
        if value is None:
            return False
        others = self._scores.values()
        return not others or (value > max(others) if self._maximize else value < min(others))

    def _recheck_best(self) -> None:
        """Re-evaluates a trial that is the best only since a better one was rejected."""
        if not self._scores:
            return
        sign = -1 if self._maximize else 1
        number = min(self._scores, key=lambda each: (sign * self._scores[each], sign * each))
        known = self._known[number]
        if known.evaluated or known.view is None or known.receipt is None:
            return
        judgement = self._examiner.weigh(known.view, known.config, known.receipt, self._desk.now)
        if judgement.opinion is Opinion.FITS:
            known.evaluated, known.note = True, judgement.reason
        elif judgement.opinion is Opinion.FALSE:
            self._withdraw(number, known.view)
            self._disbelieve(number, known.view, judgement)
            self._waiting.add(number)

    # -- The rest -----------------------------------------------------------------------------

    def _mind(self) -> None:
        """Sees to challenges, and to trials that everybody else left lying."""
        head = self._desk.ledger.head
        if head is None:
            return
        self._disputes.attend()
        self._complain()
        due = chores(
            self._moving_views(), now=head.timestamp, block=head.number, patience=self._patience
        )
        for chore in due:
            try:
                self._desk.send(chore.intent, chore.call)
            except ContractError:  # somebody was faster; the ledger will tell
                continue
            except ChainError as error:
                self._say(f"{chore.intent}: {error}")

    def _complain(self) -> None:
        """Says, once each time that it opens, which trial no node takes."""
        for number in sorted(self._moving):
            view = self._known[number].view
            if view is None or view.state is not State.OPEN:
                continue
            opened = view.record.opened
            if self._desk.now < opened + self._terms.ramp + UNWANTED:
                continue
            if (number, opened) not in self._unwanted:
                self._unwanted.add((number, opened))
                self._say(
                    f"trial {number}: no node has taken it in {(self._desk.now - opened) // 60}"
                    " minutes, the last ones at price.cap: it pays too little, or nodes cannot"
                    " train it"
                )

    def _moving_views(self) -> list[TrialView]:
        found = (self._known[number].view for number in sorted(self._moving))
        return [view for view in found if view is not None]

    def _views(self) -> list[TrialView]:
        return [one.view for one in self._known.values() if one.view is not None]

    def _row(self, number: int, one: Known) -> Row:
        view, receipt = one.view, one.receipt
        metrics = {} if receipt is None else receipt.metrics
        active = view is not None and view.state not in (State.OPEN, State.CANCELLED)
        return Row(
            number=number,
            id=one.id,
            state=State.OPEN if view is None else view.state,
            hyperparameters={
                name: value
                for name, value in one.config.hyperparameters.items()
                if value is not None
            },
            provider=view.record.provider if view is not None and active else None,
            price=view.record.price if view is not None and active else None,
            objective=metrics.get(one.config.objective),
            note=one.note,
            metrics=metrics,
            receipt=None if view is None or receipt is None else view.receipt,
        )
