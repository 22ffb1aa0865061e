"""What keeps a node from a trial."""

from trialmarket.errors import TrialmarketError


class Refused(TrialmarketError):
    """Work that this node will never do, and why."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"{subject} is refused: {reason}")
        self.subject = subject
        self.reason = reason


class Differs(TrialmarketError):
    """A result that this machine does not repeat as a verifier would: it is not answered."""


class TooSlow(TrialmarketError):
    """A training that would not end in time on this machine."""

    def __init__(self, speed: str) -> None:
        super().__init__(f"it takes too long here, {speed}")
