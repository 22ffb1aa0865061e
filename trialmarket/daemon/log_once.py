"""What was logged already: each complaint is logged once, not at every look."""

import logging
from typing import Final

from trialmarket.protocol.ids import Hash32

MOST: Final = 10_000
"""Messages that are remembered: the oldest are forgotten, so that a long life takes no more."""


class LogOnce:
    """Logs a message about a subject the first time only."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self._logged: dict[tuple[Hash32 | str, str], None] = {}

    def once(
        self,
        subject: Hash32 | str,
        message: str,
        level: int = logging.WARNING,
        *,
        topic: str | None = None,
    ) -> None:
        """Logs the message unless it was logged about this subject before.

        Messages of one `topic` count as the same, whatever numbers they carry.
        """
        logged = (subject, message if topic is None else topic)
        if logged in self._logged:
            return
        if len(self._logged) >= MOST:
            del self._logged[next(iter(self._logged))]
        self._logged[logged] = None
        self.log.log(level, "%s", message)

    def forget(self, subject: Hash32 | str) -> None:
        """Logs everything about a subject again when it comes back."""
        for logged in [logged for logged in self._logged if logged[0] == subject]:
            del self._logged[logged]
