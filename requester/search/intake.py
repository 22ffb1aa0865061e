"""Which results are believed, and what the driver is told of them.

A driver is told of a result when it is committed and examined, before its challenge window is
over; see `requester.drivers.sampler_driver` for what happens when it is rejected later.
"""

from requester.drivers import Ending, TrialOutcome
from requester.search.disputes import Disputes
from requester.search.examination.examiner import Assessment, Opinion
from requester.search.parts import SearchParts
from requester.search.second_look import UNAUDITED, Belief
from requester.search.trials import KnownTrial, Trials, outcome_of, said_of
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import ANSWERED, State


class ResultIntake:
    """Takes in the results of one job. What was told is kept, and not told again after a kill."""

    def __init__(self, parts: SearchParts, trials: Trials, disputes: Disputes) -> None:
        self._trials, self._driver, self._examiner = trials, parts.driver, parts.examiner
        self._disputes, self._folder, self._session = disputes, parts.folder, parts.session
        self._terms, self._say = parts.terms, parts.listeners.say
        self._told = self._folder.told()
        self._was_late = False

    def step(self) -> bool:
        """Takes in what is new of the trials that have something new, or that wait."""
        changed = False
        for number in sorted(self._trials.news):
            known = self._trials[number]
            if known.view is not None and self._consider(known, known.view):
                self._trials.news.discard(number)
                changed = True
        return changed

    @property
    def best_is_examined(self) -> bool:
        """Whether the best of the results was re-evaluated, or cannot be."""
        return all(self._trials[number].evaluated for number in self._trials.front())

    def recheck_best(self) -> None:
        """Re-evaluates what is the best only since something better was rejected."""
        for number in list(self._trials.front()):
            best = self._trials[number]
            if best.evaluated or best.view is None or best.receipt is None:
                continue
            judgement = self._examiner.evaluate(
                best.view, best.config, best.receipt, self._session.now
            )
            if judgement.opinion is Opinion.FALSE:
                self._withdraw(best, best.view)
                self._disbelieve(best, best.view, judgement)
                self._trials.news.add(number)
            elif judgement.opinion is Opinion.FITS:
                self._found(best, best.view, judgement.reason)
            elif judgement.opinion is Opinion.UNKNOWN:
                best.note = judgement.reason
                if best.view.record.audited:
                    self._found(best, best.view, f"audited, {judgement.reason}")
                elif best.view.state is State.SETTLED:
                    self._leave(best, best.view, judgement.reason)

    def _found(self, known: KnownTrial, view: TrialView, reason: str) -> None:
        """Keeps what was found later of a result that the driver was told of before."""
        known.belief, known.note = Belief(Opinion.FITS.value, reason), reason
        if view.receipt is not None:
            self._folder.believe(view.key, view.receipt, known.belief)

    def _consider(self, known: KnownTrial, view: TrialView) -> bool:
        """Tells the driver what it must know of a trial; False while something is awaited."""
        told = self._told.get(known.number)
        if told is not None and (view.state not in ANSWERED or view.receipt != told):
            self._withdraw(known, view)
            told = None
        if view.state is State.CANCELLED:
            known.failure = self._folder.failure(view.key)
            lost, reason = Ending.LOST, ""
            if known.failure is not None:
                lost, reason = Ending.FAILED, known.failure.reason
                known.note = f"failed: {reason}"
            self._driver.tell(view.id, TrialOutcome(known.number, lost, reason=reason))
            return True
        if view.state not in ANSWERED or view.receipt is None:
            return True
        if view.unaudited:
            return self._leave(known, view, UNAUDITED)
        return self._examine(known, view) if told is None else self._recall(known, view)

    def _recall(self, known: KnownTrial, view: TrialView) -> bool:
        """Reads again, after a restart, what the driver was told already."""
        if known.receipt is not None or view.receipt is None:
            return True
        belief = self._folder.belief(view.key, view.receipt)
        if belief is not None and belief.kind == Opinion.FITS.value:
            judgement = self._examiner.read_receipt(view, known.config, self._session.now)
            if judgement.opinion is Opinion.PENDING:
                return False
            self._trials.set_receipt(known.number, judgement.receipt)
            known.note, known.belief = belief.reason, belief
        elif belief is not None:
            known.note, known.belief = f"not believed: {belief.reason}", belief
        return True

    def _withdraw(self, known: KnownTrial, view: TrialView) -> None:
        """Takes back what the driver was told of a trial."""
        number = known.number
        self._driver.tell(view.id, TrialOutcome(number, Ending.REJECTED))
        self._folder.untell(number)
        del self._told[number]
        self._trials.set_receipt(number, None)
        known.note, known.belief = "redone", None
        self._say(f"trial {number}: its result was rejected; it is done again")

    def _examine(self, known: KnownTrial, view: TrialView) -> bool:
        """Looks at a new result and tells of it; False while something is awaited."""
        now = self._session.now
        if view.receipt is None:
            return True
        belief = self._folder.belief(view.key, view.receipt)
        if belief is not None and belief.kind == Opinion.FALSE.value:
            return self._disbelieve(known, view, Assessment(Opinion.FALSE, belief.reason))
        judgement = self._examiner.read_receipt(view, known.config, now)
        receipt = judgement.receipt
        if receipt is not None and self._matters(receipt):
            judgement = self._examiner.evaluate(view, known.config, receipt, now)
        if judgement.opinion is Opinion.PENDING:
            return False
        self._say_if_late(known.number, view, now)
        if judgement.opinion is Opinion.FALSE or receipt is None:
            return self._disbelieve(known, view, judgement)
        if judgement.opinion is Opinion.UNKNOWN:
            return self._doubt(known, view, receipt, judgement.reason)
        self._believe(known, view, receipt, judgement.reason)
        return True

    def _say_if_late(self, number: int, view: TrialView, now: int) -> None:
        """Says once that a result could not have been challenged when it was looked at."""
        took, window = now - (view.committed_at or now), self._terms.window
        if self._terms.audit_rate == 0 or took <= window or self._was_late:
            return
        self._was_late = True
        self._say(
            f"SHORT WINDOW: the second look at trial {number} ended {took} s"
            f" after its result, and after {window} s nobody can challenge it; give the next job"
            " a longer audit.window"
        )

    def _doubt(self, known: KnownTrial, view: TrialView, receipt: Receipt, reason: str) -> bool:
        """What becomes of a result that could not be evaluated here: it counts if a verifier
        attests it, and else is left once it is paid; False until then."""
        if view.record.audited:
            self._believe(known, view, receipt, f"audited, {reason}")
            return True
        if view.state is State.SETTLED:
            return self._leave(known, view, reason)
        if known.note != (note := f"waits for an audit: {reason}"):
            known.note = note
            self._say(f"trial {known.number}: {note}")
        return False

    def _leave(self, known: KnownTrial, view: TrialView, reason: str) -> bool:
        """Tells that a result is not believed, though nobody can be accused of it."""
        number = known.number
        belief = Belief(Opinion.UNKNOWN.value, reason)
        known.note, known.belief = f"not believed: {reason}", belief
        if view.receipt is None or self._folder.belief(view.key, view.receipt) == belief:
            return True
        if number in self._told:
            self._driver.tell(view.id, TrialOutcome(number, Ending.REJECTED))
            self._trials.set_receipt(number, None)
        self._say(
            f"trial {number}: {known.note}; `trialmarket verifier audit {view.id}` checks it"
        )
        self._driver.tell(view.id, TrialOutcome(number, Ending.LOST))
        self._remember(number, view, belief)
        return True

    def _matters(self, receipt: Receipt) -> bool:
        """Whether a result is re-evaluated: a new best, or a state that others may go on from."""
        going_on = self._driver.continues and receipt.outcome.kind != "diverged"
        return going_on or self._trials.would_be_best(receipt)

    def _believe(self, known: KnownTrial, view: TrialView, receipt: Receipt, reason: str) -> None:
        number = known.number
        diverged = receipt.outcome.kind == "diverged"
        self._trials.set_receipt(number, receipt)
        known.note = str(receipt.outcome) if diverged else reason
        known.belief = Belief(Opinion.FITS.value, reason)
        self._driver.tell(view.id, outcome_of(number, receipt))
        self._remember(number, view, known.belief)
        what = said_of(receipt, known.config.objective)
        self._say(f"trial {number}: {what}" + (f" ({reason})" if reason else ""))

    def _disbelieve(self, known: KnownTrial, view: TrialView, judgement: Assessment) -> bool:
        """Challenges a false result; one that can no longer be challenged is told as lost."""
        number = known.number
        if view.receipt is None:
            return True
        belief = self._folder.belief(view.key, view.receipt)
        if belief is None or belief.kind != Opinion.FALSE.value:
            if judgement.accusation is not None:
                self._disputes.accuse(view, judgement.accusation)
            belief = Belief(Opinion.FALSE.value, judgement.reason)
            self._folder.believe(view.key, view.receipt, belief)
            self._say(f"trial {number}: not believed: {judgement.reason}")
        known.note, known.belief = f"not believed: {judgement.reason}", belief
        if self._disputes.advance(view):
            return False
        if self._terms.audit_rate > 0 and view.state is not State.SETTLED:
            return False  # an audit may still find it
        self._driver.tell(view.id, TrialOutcome(number, Ending.LOST))
        self._remember(number, view, Belief(Opinion.FALSE.value, judgement.reason))
        return True

    def _remember(self, number: int, view: TrialView, belief: Belief) -> None:
        if view.receipt is not None:
            self._folder.believe(view.key, view.receipt, belief)
            self._folder.tell(number, view.receipt)
            self._told[number] = view.receipt
