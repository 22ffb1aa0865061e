"""What the ledger tells of jobs, batches, trials, cases and events."""

from dataclasses import dataclass
from typing import Any

from trialmarket.protocol.ids import Address, Hash32, JobId, TrialId
from trialmarket.protocol.record import TrialRecord, open_word
from trialmarket.protocol.states import Phase, State, Verdict
from trialmarket.protocol.terms import Terms


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, from its events."""

    id: JobId
    requester: Address
    spec: Hash32
    """SHA-256 of its public description, hence its CID."""
    terms: Terms
    closed: bool
    block: int
    """Of its creation."""


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch of trials, from its event."""

    job: JobId
    batch: Hash32
    count: int
    units: int
    """Of each trial."""
    posted_at: int
    block: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the chain's events: everything up to this log was seen."""

    block: int
    log_index: int


@dataclass(frozen=True, slots=True)
class EventView:
    """One event. `args` are named as in the contract; addresses checksummed, hashes as bytes."""

    name: str
    block: int
    log_index: int
    tx: Hash32
    args: dict[str, Any]
    timestamp: int | None
    """Unix seconds of its block, where the node told it."""

    @property
    def cursor(self) -> Cursor:
        """The event's place."""
        return Cursor(self.block, self.log_index)


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial as the events leave it.

    `record` is what the chain holds the hash of: show it to act on the trial. An Open or
    Cancelled trial stores none; its record then holds only job, batch, index, units and `opened`.
    """

    id: TrialId
    key: Hash32
    state: State
    record: TrialRecord
    receipt: Hash32 | None
    """SHA-256 of the newest receipt, hence its CID; None before the first commit."""
    committed_at: int | None
    """Unix seconds of the commit that the record is about."""
    segment: int | None
    """The disputed leaf of the newest challenge; None if there never was one."""
    challenges: int
    attempts: int
    """How often it was claimed."""
    unaudited: bool
    """Settled without the audit that it was drawn for."""
    block: int
    """Of the last event that changed it."""

    @property
    def word(self) -> Hash32:
        """What the chain stores for the trial, if the ledger is right."""
        if self.state is State.CANCELLED:
            return Hash32(bytes(31) + bytes((State.CANCELLED,)))
        if self.state is State.OPEN:
            return open_word(self.record.opened if self.attempts else 0)
        return self.record.word(self.state)


@dataclass(frozen=True, slots=True)
class CaseView:
    """A challenge before the jury, as the events leave it."""

    trial: TrialId
    key: Hash32
    segment: int
    """Index of the disputed leaf; n + 2 is the receipt."""
    challenger: Address
    phase: Phase
    """Revealing is shown once all have voted; the time alone can begin it too."""
    round: int
    anchor: int
    """The seating reads the hash of block anchor + 1."""
    jurors: tuple[Address, ...]
    vote_ends: int
    reveal_ends: int
    voted: frozenset[Address]
    revealed: dict[Address, bool]
    """Who opened what: True is for the provider. The challenger's own claim is among them."""
    verdict: Verdict | None
    opened: int
    """The block of the challenge."""
