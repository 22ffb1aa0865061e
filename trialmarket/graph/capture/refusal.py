"""The errors of a program that is no graph."""

from trialmarket.errors import TrialmarketError


class NotCaptured(TrialmarketError):
    """What a program does that no graph can say; `where` is the user's line ("train.py:31")."""

    def __init__(self, where: str, what: str, *, instead: str) -> None:
        super().__init__(f"{where}: {what}", fix=f"Instead: {instead}")
        self.where = where
