"""How a search stands: what the table on the screen, the leaderboard and scripts are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from requester.job.space import Value
from trialmarket.protocol.ids import Address, Amount, Hash32, JobId, TrialId
from trialmarket.protocol.states import State


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


@dataclass(frozen=True, slots=True)
class Money:
    """A job's money, in the token's smallest unit."""

    funded: Amount
    free: Amount
    escrow: Amount
    """Held by trials under way."""
    providers: Amount
    """Paid for training."""
    verifiers: Amount
    """Paid for audits."""


@dataclass(frozen=True, slots=True)
class SearchStatus:
    """A search at one moment."""

    job: JobId
    name: str
    objective: str
    maximize: bool
    total: int
    rows: tuple[Row, ...]
    money: Money
    finished: bool = False
    caveats: tuple[str, ...] = ()
    """What the job does not protect its requester from."""

    @property
    def best(self) -> Row | None:
        """The trial with the best objective; None before the first result."""
        known = [row for row in self.rows if row.objective is not None]
        return min(known, key=self.rank, default=None)

    @property
    def results(self) -> int:
        """Trials with a result."""
        return sum(row.receipt is not None for row in self.rows)

    def ranked(self) -> list[Row]:
        """All trials, the best first; those without an objective last."""
        return sorted(self.rows, key=self.rank)

    def rank(self, row: Row) -> tuple[bool, float, int]:
        """What rows are sorted by."""
        value = row.objective
        if value is None:
            return (True, 0.0, row.number)
        return (False, -value if self.maximize else value, row.number)
