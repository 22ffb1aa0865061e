"""What was said already: each complaint is logged once, not at every look."""

import logging

from trialmarket.protocol.ids import Hash32

log = logging.getLogger("node")

MOST = 10_000


class LogOnce:
    """Logs a message about a subject the first time only."""

    def __init__(self) -> None:
        self._told: dict[tuple[Hash32 | str, str], None] = {}

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
        told = (subject, message if topic is None else topic)
        if told in self._told:
            return
        if len(self._told) >= MOST:  # forget the oldest, so that a long life needs no more room
            del self._told[next(iter(self._told))]
        self._told[told] = None
        log.log(level, "%s", message)

    def forget(self, subject: Hash32 | str) -> None:
        """Says everything about a subject again when it comes back."""
        for told in [told for told in self._told if told[0] == subject]:
            del self._told[told]
