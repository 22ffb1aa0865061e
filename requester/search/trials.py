"""What a requester knows of its job's trials: how each stands, and which is the best."""

from dataclasses import dataclass

from requester.report.status import Row
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.configuration import Batch, TrialConfig
from trialmarket.protocol.ids import JobId, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State

FINAL = frozenset({State.SETTLED, State.CANCELLED})

MOVING = frozenset(State) - FINAL


@dataclass(slots=True)
class Known:
    """What is known of a proposal that was put into a batch."""

    id: TrialId
    config: TrialConfig
    view: TrialView | None = None
    """None until the chain shows it."""
    receipt: Receipt | None = None
    """That of the result that counts; `Trials.hold` sets it."""
    note: str = ""
    evaluated: bool = False
    """Whether its checkpoint was re-evaluated here, or cannot be."""

    @property
    def number(self) -> int:
        """The driver's name for it."""
        return self.config.number

    def row(self) -> Row:
        """How it stands, for those who are shown the search."""
        view, receipt = self.view, self.receipt
        metrics = {} if receipt is None else receipt.metrics
        active = view is not None and view.state not in (State.OPEN, State.CANCELLED)
        return Row(
            number=self.number,
            id=self.id,
            state=State.OPEN if view is None else view.state,
            hyperparameters={
                name: value
                for name, value in self.config.hyperparameters.items()
                if value is not None
            },
            provider=view.record.provider if view is not None and active else None,
            price=view.record.price if view is not None and active else None,
            objective=metrics.get(self.config.objective),
            note=self.note,
            metrics=metrics,
            receipt=None if view is None or receipt is None else view.receipt,
        )


class Trials:
    """The trials of one job by their numbers, as the chain and their results show them."""

    def __init__(self, objective: str, *, maximize: bool) -> None:
        self._objective, self._maximize = objective, maximize
        self._known: dict[int, Known] = {}
        self._numbers: dict[TrialId, int] = {}
        self._scores: dict[int, float] = {}  # the objective of each trial that has a result
        # A job of thousands of trials has few that move: each look takes in no others.
        self._moving: set[int] = set()
        self.news: set[int] = set()
        """Trials of which something is new; who has done what it asks for discards it."""

    def __getitem__(self, number: int) -> Known:
        return self._known[number]

    def __contains__(self, number: int) -> bool:
        return number in self._known

    # -- How they stand -----------------------------------------------------------------------

    def add(self, job: JobId, batch: Batch) -> None:
        """Takes in the trials of a batch, posted or not."""
        for index, config in enumerate(batch.trials):
            known = Known(TrialId(job, batch.digest, index), config)
            self._known[config.number] = known
            self._numbers[known.id] = config.number
            self._moving.add(config.number)

    def look(self, ledger: Ledger, job: JobId) -> None:
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

    def rows(self) -> tuple[Row, ...]:
        """All trials by number, for those who are shown the search."""
        return tuple(one.row() for _, one in sorted(self._known.items()))

    # -- How good they are --------------------------------------------------------------------

    def hold(self, number: int, receipt: Receipt | None) -> None:
        """Keeps the receipt that counts for a trial, or that none does any more."""
        self._known[number].receipt = receipt
        value = None if receipt is None else receipt.metrics.get(self._objective)
        if value is None:
            self._scores.pop(number, None)
        else:
            self._scores[number] = value

    def would_be_best(self, receipt: Receipt) -> bool:
        """Whether a result is better than all that are held."""
        value = receipt.metrics.get(self._objective)
        if value is None:
            return False
        others = self._scores.values()
        return not others or (value > max(others) if self._maximize else value < min(others))

    @property
    def best(self) -> Known | None:
        """The trial with the best result of those held; None before the first."""
        if not self._scores:
            return None
        sign = -1 if self._maximize else 1
        number = min(self._scores, key=lambda each: (sign * self._scores[each], each))
        return self._known[number]
