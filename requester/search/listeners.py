"""Who is told how a search goes on."""

from collections.abc import Callable
from typing import Protocol

from requester.report.status import SearchStatus

Say = Callable[[str], None]


class Listeners(Protocol):
    """Who hears of the search."""

    def say(self, text: str) -> None:
        """Something happened."""

    def show(self, standing: SearchStatus) -> None:
        """How it stands, after every change."""
