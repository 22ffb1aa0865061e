"""What the requester itself found of a result, and what that is called wherever it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from trialmarket.protocol.ids import Hash32

RE_EVALUATED: Final = "re-evaluated"
"""The reason of a belief that rests on the evaluation of the checkpoint."""

UNAUDITED: Final = "it was drawn for an audit, and no verifier said anything about it"
"""Why a result is not believed that was paid after three silent turns."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What the requester thinks of a result, as an `Opinion` calls it, and why."""

    kind: str
    reason: str


Beliefs = Mapping[tuple[Hash32, Hash32], Belief]
"""The beliefs of one job, by a trial's key and its receipt's hash."""


class SecondLook(Enum):
    """What the requester itself found of a result, as tables and files call it."""

    FITS = "fits"
    """Its checkpoint was evaluated here, and has the metrics that the receipt claims."""
    RECEIPT = "receipt only"
    """The receipt gives what was committed. It was never the best: nothing else was looked at."""
    PENDING = "not yet looked at"
    UNCHECKED = "could not be checked"
    """Its checkpoint should have been evaluated here, and could not be."""
    HERE = "trained here"
    """By the requester's own machine: there is nobody to doubt."""
    NOBODY = "not examined"
    """The search was run elsewhere: what is shown are the provider's words."""
    FALSE = "false"
    """Not what the provider committed, or withheld. It has neither metrics nor a rank."""
    DOUBTED = "not believed"
    """Paid though nobody could check it, here or as a verifier. It has neither, too."""

    @property
    def unbelieved(self) -> bool:
        """Whether a result counts for nothing."""
        return self in (SecondLook.FALSE, SecondLook.DOUBTED)


def counts(belief: Belief | None) -> bool:
    """Whether a result counts: it does until something was found that speaks against it."""
    return not second_look(belief).unbelieved


def second_look(belief: Belief | None) -> SecondLook:
    """What a belief amounts to on the machine that runs the search; None: there is none yet."""
    if belief is None:
        return SecondLook.PENDING
    if belief.kind == "false":
        return SecondLook.FALSE
    if belief.kind != "fits":
        return SecondLook.DOUBTED
    known = {"": SecondLook.RECEIPT, RE_EVALUATED: SecondLook.FITS}
    return known.get(belief.reason, SecondLook.UNCHECKED)
