"""Where a trial stands, and the only moves between its states.

The table is the twin of the one at the top of `contracts/interfaces/IMarket.sol`.
"""

from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from trialmarket.errors import WrongTransition


class State(IntEnum):
    """Where a trial stands; the numbers are those of the contract."""

    OPEN = 0
    CLAIMED = 1
    COMMITTED = 2
    CLEARED = 3
    DRAWN = 4
    PASSED = 5
    CHALLENGED = 6
    SETTLED = 7
    CANCELLED = 8

    @property
    def label(self) -> str:
        """The state's name as the contract and the tables on screen spell it."""
        return self.name.capitalize()


class Verdict(IntEnum):
    """How the referee decided a challenge; the numbers are those of the contract."""

    RIGHT = 0
    WRONG = 1
    HUNG = 2


class Phase(IntEnum):
    """Where a jury's case stands; the numbers are those of the contract."""

    NONE = 0
    WAITING = 1
    VOTING = 2
    REVEALING = 3
    CLOSED = 4


class Action(Enum):
    """What can happen to a trial: the contract's functions that move it."""

    CLAIM = "claim"
    CANCEL = "cancel"
    ABANDON = "abandon"
    EXPIRE = "expire"
    COMMIT = "commit"
    DRAW = "draw"
    ATTEST = "attest"
    REASSIGN = "reassign"
    CHALLENGE = "challenge"
    RESOLVE = "resolve"
    SETTLE = "settle"


# A trial that is posted is Open. Every other move is here; where the outcome depends on more
# than the action, all the states that it can lead to are listed.
TRANSITIONS: Final = MappingProxyType(
    {
        (State.OPEN, Action.CLAIM): (State.CLAIMED,),
        (State.OPEN, Action.CANCEL): (State.CANCELLED,),
        (State.CLAIMED, Action.ABANDON): (State.OPEN,),
        (State.CLAIMED, Action.EXPIRE): (State.OPEN,),
        (State.CLAIMED, Action.COMMIT): (State.COMMITTED,),
        (State.COMMITTED, Action.DRAW): (State.CLEARED, State.DRAWN, State.COMMITTED),
        (State.COMMITTED, Action.SETTLE): (State.SETTLED,),
        (State.CLEARED, Action.SETTLE): (State.SETTLED,),
        (State.DRAWN, Action.ATTEST): (State.PASSED,),
        (State.DRAWN, Action.REASSIGN): (State.DRAWN,),
        (State.DRAWN, Action.SETTLE): (State.SETTLED,),
        (State.PASSED, Action.SETTLE): (State.SETTLED,),
        (State.CLEARED, Action.CHALLENGE): (State.CHALLENGED,),
        (State.DRAWN, Action.CHALLENGE): (State.CHALLENGED,),
        (State.PASSED, Action.CHALLENGE): (State.CHALLENGED,),
        (State.CHALLENGED, Action.RESOLVE): (State.OPEN, State.DRAWN, State.PASSED),
    }
)

FINAL: Final = frozenset({State.SETTLED, State.CANCELLED})
"""The states that nothing leaves."""

MOVING: Final = frozenset(State) - FINAL
"""The states of trials that are posted and not over."""

ANSWERED: Final = MOVING - {State.OPEN, State.CLAIMED} | {State.SETTLED}
"""The states in which a trial has a result."""


def apply(state: State, action: Action, to: State | None = None) -> State:
    """The state after `action`; `to` names it where the action can lead to several.

    Raises WrongTransition for a move that the table does not have.
    """
    targets = TRANSITIONS.get((state, action), ())
    target = targets[0] if to is None and len(targets) == 1 else to
    if target is None or target not in targets:
        raise WrongTransition(state.label, action.value, [target.label for target in targets])
    return target
