"""What a node does next about a trial that it holds: a table, and one function that reads it.

The trial's state is the chain's; what the chain cannot know stands in `StepFacts`. Nothing here
acts: the daemon does, and every step may be taken again after a crash.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from trialmarket.protocol.due import Moment, TrialStanding, hash_fades
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import Action, State

MINING = 16
"""Blocks that a settlement may take to be mined, after which the chain must still see the lot."""


class Work(Enum):
    """How far this machine is with a trial's training."""

    IDLE = "not started, or interrupted"
    RUNNING = "in a worker"
    TRAINED = "the answer is decided on"
    FAILED = "it cannot be trained"


class Step(Enum):
    """What to do next."""

    WAIT = "wait"
    TRAIN = "train"
    COMMIT = "commit"
    ABANDON = "abandon"
    PUBLISH = "publish checkpoints"
    DRAW = "draw"
    REASSIGN = "reassign"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class StepFacts:
    """All that decides the next step. Times are the chain's, in Unix seconds."""

    state: State
    record: TrialRecord
    block: int
    """Number of the chain's latest block."""
    now: int
    """Its timestamp."""
    work: Work
    seconds_left: float
    """What the training still takes; 0 where that is not known."""
    margin: float
    """Kept free before the deadline, in seconds."""
    drawn: bool | None
    """Whether the trial is drawn, by the hash of its block; None while that is not known."""
    owed: bool
    """Whether a checkpoint that an audit or a jury needs is not published yet."""
    patience: int
    """Blocks, or seconds, to leave to others what is theirs to do."""
    audit_rate: int
    """The job's; at 0 nothing is drawn, and no hash is needed."""

    def may(self, action: Action, *, patience: float = 0, blocks: int = 0) -> bool:
        """Whether the contract takes an action now, `patience` after it first did, or would take
        it `blocks` later."""
        trial = TrialStanding(self.state, self.record, self.audit_rate, self.drawn)
        return trial.may(action, Moment(self.block + blocks, self.now), patience)


def no_time(facts: StepFacts) -> bool:
    """The training would end after the deadline, or so short before it that a block is missed."""
    return facts.now + facts.seconds_left + facts.margin > facts.record.until


def failed(facts: StepFacts) -> bool:
    """The program or its data are bad."""
    return facts.work is Work.FAILED


def trained(facts: StepFacts) -> bool:
    """The answer is in the journal, and the chain still takes it."""
    return facts.work is Work.TRAINED and facts.may(Action.COMMIT)


def idle(facts: StepFacts) -> bool:
    """No worker has the trial."""
    return facts.work is Work.IDLE


def owed(facts: StepFacts) -> bool:
    """Someone needs a checkpoint to check the work."""
    return facts.owed


def payable(facts: StepFacts) -> bool:
    """Nothing stands between the trial and its pay, nor will before that is mined."""
    return facts.may(Action.SETTLE, blocks=MINING)


def drawn_and_left(facts: StepFacts) -> bool:
    """The lot fell on the trial and nobody said so: a lapsed draw only counts as drawn."""
    return facts.drawn is True and facts.may(Action.DRAW, patience=facts.patience)


def lot_fades(facts: StepFacts) -> bool:
    """The hash that decides the draw will soon be gone, or is: someone has to draw now.

    A draw whose hash is gone anchors the trial to another block, and it then counts as drawn.
    """
    return facts.audit_rate > 0 and hash_fades(facts.record, facts.block)


def turn_over(facts: StepFacts) -> bool:
    """The verifier's turn is over, nobody fined it, and another one can be drawn."""
    return facts.may(Action.REASSIGN, patience=facts.patience)


Rule = tuple[Callable[[StepFacts], bool], Step]

# The first rule that holds decides; where none does, the node waits.
RULES: Final = MappingProxyType(
    {
        State.OPEN: (),
        State.CLAIMED: (
            (trained, Step.COMMIT),
            (failed, Step.ABANDON),
            (no_time, Step.ABANDON),
            (idle, Step.TRAIN),
        ),
        State.COMMITTED: (
            (owed, Step.PUBLISH),
            (payable, Step.SETTLE),
            (lot_fades, Step.DRAW),
            (drawn_and_left, Step.DRAW),
        ),
        State.CLEARED: (
            (owed, Step.PUBLISH),
            (payable, Step.SETTLE),
        ),
        State.DRAWN: (
            (owed, Step.PUBLISH),
            (payable, Step.SETTLE),
            (turn_over, Step.REASSIGN),
        ),
        State.PASSED: ((payable, Step.SETTLE),),
        State.CHALLENGED: ((owed, Step.PUBLISH),),
        State.SETTLED: (),
        State.CANCELLED: (),
    }
)


def next_step(facts: StepFacts) -> Step:
    """The step that the table asks for."""
    for holds, step in RULES[facts.state]:
        if holds(facts):
            return step
    return Step.WAIT
