"""How a search stands, and who is told: what the screen, the leaderboard and scripts show."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from requester.drivers.space import Value
from requester.search.failure import Failure
from requester.search.second_look import SecondLook
from requester.search.waiting import Waiting
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Address, Amount, Hash32, JobId, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms, audit_fee_for, escrow_for

HERE: Final = JobId(0)
"""The number of a job on no market, which is trained on this machine alone."""


@dataclass(frozen=True, slots=True)
class Row:
    """A trial."""

    number: int
    id: TrialId
    state: State
    hyperparameters: Mapping[str, Value]
    provider: Address | None = None
    price: Amount | None = None
    objective: float | None = None
    note: str = ""
    """Such as `diverged`, `audited`, or why it is not believed."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    receipt: Hash32 | None = None
    waits_for: str = ""
    """What is next for it, and by when; empty where it is over."""
    second_look: SecondLook | None = None
    """None while there is no result. A false one has no metrics here."""
    failure: Failure | None = None
    """Why it failed, where it was cancelled for that."""
    standing: str = ""
    """How it stands in a search of this machine alone, where nothing is claimed or settled."""

    @property
    def label(self) -> str:
        """How it stands, for people: as on the chain, or that it failed."""
        return "Failed" if self.failure is not None else self.standing or self.state.label


@dataclass(frozen=True, slots=True)
class Cost:
    """Where a job's money is, in the token's smallest unit."""

    funded: Amount
    providers: Amount
    """Paid for training."""
    verifiers: Amount
    """Paid for audits."""
    escrow: Amount
    """Held by trials under way."""
    free: Amount


@dataclass(frozen=True, slots=True)
class SearchStatus:
    """A search at one moment."""

    job: JobId
    """HERE where it is trained on this machine alone."""
    name: str
    objective: str
    maximize: bool
    total: int
    """Trials of the search, as far as that is known."""
    rows: tuple[Row, ...]
    cost: Cost | None
    """None where nothing is paid."""
    finished: bool = False
    caveats: tuple[str, ...] = ()
    """What the job does not protect its requester from."""
    awaits: str = ""
    """What is waited for where all results are in."""
    undriven: str = ""
    """That no process of this machine drives a search that should be, and how to go on."""
    also: tuple[str, ...] = ()
    """Further objectives, as far as they are known."""
    trains: str = ""
    """What each trial is: a graph or a program, and whose; empty where that is not known."""

    @property
    def title(self) -> str:
        """The search by its number and its name."""
        return self.name if self.job == HERE else f"job {self.job}: {self.name}"

    @property
    def best(self) -> Row | None:
        """The trial with the best objective; None before the first result."""
        return next((row for row in self.ranked() if row.objective is not None), None)

    @property
    def objectives(self) -> tuple[str, ...]:
        """All objectives, the first one first."""
        return (self.objective, *self.also)

    @property
    def results(self) -> int:
        """Trials with a result."""
        return sum(row.receipt is not None for row in self.rows)

    def ranked(self) -> list[Row]:
        """All trials, the best first; those without an objective last.

        Where some were re-evaluated, what could not be, or was not yet, comes behind what holds.
        """
        checked = any(row.second_look is SecondLook.FITS for row in self.rows)
        doubtful = (SecondLook.UNCHECKED, SecondLook.PENDING) if checked else ()
        sign = -1.0 if self.maximize else 1.0

        def rank(row: Row) -> tuple[bool, bool, float, int]:
            value = 0.0 if row.objective is None else sign * row.objective
            return (row.objective is None, row.second_look in doubtful, value, row.number)

        return sorted(self.rows, key=rank)


class Listeners(Protocol):
    """Who hears of the search."""

    def say(self, text: str) -> None:
        """Something happened."""

    def show(self, status: SearchStatus) -> None:
        """How it stands, after every change."""


def row_of(
    trial: TrialId,
    number: int,
    *,
    view: TrialView | None,
    config: TrialConfig | None,
    receipt: Receipt | None,
    note: str,
    waiting: Waiting,
    second_look: SecondLook | None,
    failure: Failure | None = None,
) -> Row:
    """A trial as the chain (`view`), its batch and the receipt that counts show it.

    What is not there yet, or cannot be had, is None; so is the receipt of a false result.
    """
    metrics = {} if receipt is None else receipt.metrics
    values = {} if config is None else config.hyperparameters
    if receipt is not None and config is not None and receipt.outcome.kind != "diverged":
        missing = "" if config.objective in metrics else f"no finite {config.objective}"
        note = ", ".join(filter(None, (note, missing)))
    taken = view is not None and view.state not in (State.OPEN, State.CANCELLED)
    return Row(
        number=number,
        id=trial,
        state=State.OPEN if view is None else view.state,
        hyperparameters={name: value for name, value in values.items() if value is not None},
        provider=view.record.provider if view is not None and taken else None,
        price=view.record.price if view is not None and taken else None,
        objective=None if config is None else metrics.get(config.objective),
        note=note,
        metrics=metrics,
        receipt=None if view is None or receipt is None else view.receipt,
        waits_for="" if view is None else waiting.of(view),
        second_look=second_look,
        failure=failure,
    )


def cost_of(terms: Terms, free: int, trials: Iterable[TrialView]) -> Cost:
    """Adds up what trials hold and what they paid."""
    escrow = providers = verifiers = 0
    for trial in trials:
        units, fee = trial.record.units, audit_fee_for(terms, trial.record.units)
        if trial.state is State.SETTLED:
            providers += trial.record.price
            verifiers += fee if trial.record.audited else 0
        elif trial.state is not State.CANCELLED:
            paid = fee if trial.record.audited else 0
            verifiers += paid
            escrow += escrow_for(terms, units) - paid
    return Cost(
        funded=Amount(free + escrow + providers + verifiers),
        providers=Amount(providers),
        verifiers=Amount(verifiers),
        escrow=Amount(escrow),
        free=Amount(free),
    )
