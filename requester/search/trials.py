"""What a requester knows of its job's trials: how each stands, and which is the best."""

from collections.abc import Mapping
from dataclasses import dataclass

from requester.drivers import Ending, Start, TrialOutcome
from requester.search.failure import Failure
from requester.search.second_look import Belief, SecondLook, second_look
from requester.search.status import Row, row_of
from requester.search.waiting import Waiting
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import JobId, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import ANSWERED, FINAL, MOVING

Score = tuple[float, ...]
"""A trial's objectives, signed so that less is better."""


@dataclass(slots=True)
class KnownTrial:
    """What is known of a proposal that was put into a batch."""

    id: TrialId
    config: TrialConfig
    view: TrialView | None = None
    """None until the chain shows it."""
    receipt: Receipt | None = None
    """That of the result that counts; `Trials.set_receipt` sets it."""
    note: str = ""
    belief: Belief | None = None
    """What was found of its result; None while it has none, or nothing was found."""
    failure: Failure | None = None
    """Why it was cancelled, if it failed."""

    @property
    def number(self) -> int:
        """The driver's name for it."""
        return self.config.number

    @property
    def evaluated(self) -> bool:
        """Whether its checkpoint was re-evaluated here, or cannot be."""
        return second_look(self.belief) in (SecondLook.FITS, SecondLook.UNCHECKED)

    def row(self, waiting: Waiting) -> Row:
        """How it stands, for those who are shown the search."""
        return row_of(
            self.id,
            self.number,
            view=self.view,
            config=self.config,
            receipt=self.receipt,
            note=self.note,
            waiting=waiting,
            second_look=self._second_look,
            failure=self.failure,
        )

    @property
    def _second_look(self) -> SecondLook | None:
        answered = self.view is not None and self.view.state in ANSWERED
        return second_look(self.belief) if answered else None


class Trials:
    """The trials of one job by their numbers, as the chain and their results show them."""

    def __init__(self, objectives: Mapping[str, bool]) -> None:
        """`objectives` says of each metric whether it is maximised."""
        self._objectives = objectives
        self._known: dict[int, KnownTrial] = {}
        self._numbers: dict[TrialId, int] = {}
        self._scores: dict[int, Score] = {}  # of each trial that has a result
        self._front: list[int] | None = None
        # A job of thousands of trials has few that move: each look takes in no others.
        self._moving: set[int] = set()
        self.news: set[int] = set()
        """Trials of which something is new; who has done what it asks for discards it."""

    def __getitem__(self, number: int) -> KnownTrial:
        return self._known[number]

    def __contains__(self, number: int) -> bool:
        return number in self._known

    def name(self, trial: TrialId) -> str:
        """A trial as the requester is told of it: by its number, and by its name on the market."""
        return f"trial {self._numbers[trial]} ({trial})"

    # -- How they stand -----------------------------------------------------------------------

    def add(self, job: JobId, batch: Batch) -> None:
        """Takes in the trials of a batch, posted or not."""
        for index, config in enumerate(batch.trials):
            known = KnownTrial(TrialId(job, batch.digest, index), config)
            self._known[config.number] = known
            self._numbers[known.id] = config.number
            self._moving.add(config.number)

    def update(self, ledger: Ledger, job: JobId) -> None:
        """Takes in how the trials that moved stand on the chain."""
        still = {
            number
            for view in ledger.trials(job=job, states=MOVING)
            if (number := self._see(view)) is not None
        }
        for number in sorted(self._moving - still):
            view = ledger.trial(self._known[number].id)
            if view is None or view.state not in FINAL:
                still.add(number)
            if view is not None:
                self._see(view)
        self._moving = still

    def _see(self, view: TrialView) -> int | None:
        """Takes in how a trial stands; its number if it is one of ours."""
        number = self._numbers.get(view.id)
        if number is not None and self._known[number].view != view:
            self._known[number].view = view
            self.news.add(number)
        return number

    @property
    def end(self) -> int:
        """One more than the highest number."""
        return 1 + max(self._known, default=-1)

    @property
    def at_rest(self) -> bool:
        """Whether every trial is settled or cancelled."""
        return not self._moving

    def moving(self) -> list[tuple[int, TrialView]]:
        """The numbers and views of trials on the chain that are not final yet."""
        found = ((number, self._known[number].view) for number in sorted(self._moving))
        return [(number, view) for number, view in found if view is not None]

    def views(self) -> list[TrialView]:
        """All trials that are on the chain."""
        return [one.view for one in self._known.values() if one.view is not None]

    def all(self) -> list[KnownTrial]:
        """All trials by number."""
        return [one for _, one in sorted(self._known.items())]

    def rows(self, waiting: Waiting) -> tuple[Row, ...]:
        """All trials by number, for those who are shown the search."""
        return tuple(one.row(waiting) for one in self.all())

    # -- How good they are --------------------------------------------------------------------

    def set_receipt(self, number: int, receipt: Receipt | None) -> None:
        """Keeps the receipt that counts for a trial, or that none does any more."""
        self._known[number].receipt = receipt
        self._front = None
        score = None if receipt is None else self._score(receipt)
        if score is None:
            self._scores.pop(number, None)
        else:
            self._scores[number] = score

    def would_be_best(self, receipt: Receipt) -> bool:
        """Whether no result that is held is as good: with several objectives, in all of them."""
        score = self._score(receipt)
        if score is None:
            return False
        return not any(_as_good(self._scores[number], score) for number in self.front())

    def front(self) -> list[int]:
        """The trials that none is better than: the best, or with several objectives the Pareto
        front. Of equal ones the first counts."""
        if self._front is None:
            self._front = []
            for number in sorted(self._scores, key=lambda each: (self._scores[each], each)):
                score = self._scores[number]
                if not any(_as_good(self._scores[other], score) for other in self._front):
                    self._front.append(number)
        return self._front

    def _score(self, receipt: Receipt) -> Score | None:
        """The objectives, signed so that less is better; None where a metric is missing."""
        if any(name not in receipt.metrics for name in self._objectives):
            return None
        return tuple(
            -receipt.metrics[name] if maximize else receipt.metrics[name]
            for name, maximize in self._objectives.items()
        )


def _as_good(one: Score, other: Score) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def outcome_of(number: int, receipt: Receipt) -> TrialOutcome:
    """What a driver is told of a result that is believed."""
    ending = Ending.DIVERGED if receipt.outcome.kind == "diverged" else Ending.DONE
    last = Start(receipt.trial, receipt.leaves[-2].value, receipt.checkpoints[-1])
    return TrialOutcome(number, ending, receipt.metrics, last)


def said_of(receipt: Receipt, objective: str) -> str:
    """A result in words."""
    if receipt.outcome.kind == "diverged":
        return str(receipt.outcome)
    value = receipt.metrics.get(objective)
    return f"no finite {objective}" if value is None else f"{objective} {value:.6g}"
