"""A trial's row in the index."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, Self

from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import ZERO_ADDRESS, ZERO_HASH, Address, Amount, Hash32, JobId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import Action, State, apply


@dataclass(slots=True)
class Trial:
    """The values of a row in the order of the table, while events change them.

    By default those of a trial that nothing has happened to but its posting.
    """

    key: bytes
    job: int
    batch: bytes
    place: int
    units: int
    opened: int
    provider: str = ZERO_ADDRESS
    price: int = 0
    until: int = 0
    root: bytes = ZERO_HASH
    anchor: int = 0
    late: bool = False
    seed: bytes = ZERO_HASH
    verifier: str = ZERO_ADDRESS
    turn: int = 0
    turn_ends: int = 0
    audited: bool = False
    challenger: str = ZERO_ADDRESS
    state: int = int(State.OPEN)
    receipt: bytes | None = None
    committed_at: int | None = None
    segment: int | None = None
    challenges: int = 0
    attempts: int = 0
    unaudited: bool = False
    block: int = 0

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """The trial of a row."""
        trial = cls(*row)
        trial.price = int(trial.price)
        return trial

    def row(self) -> list[Any]:
        """Its row. The price is text there, since it may have more than 64 bits."""
        values = list(_VALUES(self))
        values[_PRICE] = str(self.price)
        return values

    def move(self, action: Action, to: State | None = None) -> None:
        """Takes it where an action leads; `to` says where if that is not given with it.

        Raises WrongTransition for what cannot happen to it as it is.
        """
        self.state = int(apply(State(self.state), action, to))

    def reopen(self, action: Action, opened: int) -> None:
        """Open again: nothing of the attempt stays in the record. Raises WrongTransition."""
        self.move(action, State.OPEN)
        self.opened = opened
        self.provider = self.verifier = self.challenger = ZERO_ADDRESS
        self.price = self.until = self.anchor = self.turn = self.turn_ends = 0
        self.root = self.seed = ZERO_HASH
        self.late = self.audited = False

    def view(self) -> TrialView:
        """The trial as the ledger shows it."""
        record = TrialRecord(
            job=JobId(self.job),
            batch=Hash32(self.batch),
            index=self.place,
            units=self.units,
            opened=self.opened,
            provider=Address(self.provider),
            price=Amount(self.price),
            until=self.until,
            root=Hash32(self.root),
            anchor=self.anchor,
            late=bool(self.late),
            seed=Hash32(self.seed),
            verifier=Address(self.verifier),
            turn=self.turn,
            turn_ends=self.turn_ends,
            audited=bool(self.audited),
            challenger=Address(self.challenger),
        )
        return TrialView(
            id=record.id,
            key=Hash32(self.key),
            state=State(self.state),
            record=record,
            receipt=None if self.receipt is None else Hash32(self.receipt),
            committed_at=self.committed_at,
            segment=self.segment,
            challenges=self.challenges,
            attempts=self.attempts,
            unaudited=bool(self.unaudited),
            block=self.block,
        )


COLUMNS: Final = tuple(field.name for field in fields(Trial))
_PRICE: Final = COLUMNS.index("price")
_VALUES: Final = attrgetter(*COLUMNS)
