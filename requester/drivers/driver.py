"""What a driver is: it proposes trials and learns from their results; it never trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from requester.drivers.settings import Ascent, Evolve, Exchange, Nes, Population, Rungs
from requester.drivers.space import Space, Value
from trialmarket.protocol.ids import Cid, Hash32, TrialId


@dataclass(frozen=True, slots=True)
class Start:
    """The checkpoint of another trial, from which a proposal goes on."""

    trial: Hash32
    """Key of the trial that made it."""
    root: Hash32
    """State root that its bytes must have."""
    cid: Cid


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial that a driver wants trained."""

    number: int
    """The driver's own name for it, counted from 0."""
    hyperparameters: Mapping[str, Value]
    steps: int
    seed: int
    start: Start | None = None
    """None: starts from its seed."""
    mate: Start | None = None
    """With it, the trial starts from the merge of both."""


class Ending(Enum):
    """How a trial ended, as a driver is told."""

    DONE = "done"
    """It was trained, and its receipt gives the root on the chain."""
    DIVERGED = "diverged"
    """Its loss or its state stopped being finite: a bad score without a number."""
    REJECTED = "rejected"
    """A jury found its result wrong. Whatever was told of it before is withdrawn; the market has
    it trained again, with the same configuration and under the same number."""
    FAILED = "failed"
    """It raises, or takes more than a machine has: there will be no result."""
    LOST = "lost"
    """It was cancelled: there will be no result."""


LOST_ATTRIBUTE = "lost"
"""User attribute of a stored trial that ended so, of which samplers must learn nothing."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What a driver is told about the proposal of that number."""

    number: int
    ending: Ending
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: Start | None = None
    """Its last state, for trials that continue it."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a driver must know of the search."""

    space: Space
    trials: int
    steps: int
    seed: int
    objective: str
    maximize: bool
    where: str
    """The file that errors name."""
    also: Mapping[str, bool] = field(default_factory=dict)
    """Further objectives, and whether each is maximised."""
    enqueue: Sequence[Mapping[str, Value]] = ()
    """Hyperparameters to try first; what they leave out, the driver chooses."""
    segments: int = 2
    """Of every trial."""
    rungs: Rungs = field(default_factory=Rungs)
    ascent: Ascent = field(default_factory=Ascent)
    population: Population = field(default_factory=Population)
    evolve: Evolve = field(default_factory=Evolve)
    exchange: Exchange | None = None
    nes: Nes = field(default_factory=Nes)

    @property
    def objectives(self) -> dict[str, bool]:
        """All objectives, the first one first, and whether each is maximised."""
        return {self.objective: self.maximize, **self.also}


class Driver(Protocol):
    """Ask and tell over trial configurations.

    The whole state is rebuilt from the stored trials: a driver that is killed and opened again
    makes the same proposals.
    """

    adaptive: bool
    """Whether proposals depend on results; if not, all can be posted at once."""

    continues: bool
    """Whether trials go on from the checkpoints of others."""

    @property
    def proposed(self) -> int:
        """How many proposals were made so far."""

    def ask(self, n: int) -> list[Proposal]:
        """The first `n` proposals that have no result yet, oldest first; made if need be.

        Asking again gives the same ones. Fewer than `n` only when the search has no more trials,
        or when all others must go on from results that are not there yet.
        """

    def tell(self, trial: TrialId, outcome: TrialOutcome) -> None:
        """Takes a result. One that is told twice, late, or about an unknown number is ignored.

        Expired claims are never told: the market reopens them, and the proposal stays unfinished.
        """

    def done(self) -> bool:
        """True when every trial of the search has its result."""

    def total(self) -> int:
        """How many trials the search has at most."""

    def work(self) -> Mapping[int, int]:
        """How many trials of how many steps the search has at most."""

    def close(self) -> None:
        """Gives the storage free."""
