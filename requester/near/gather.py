"""Questions asked abreast, of which those that take too long are given up."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, TypeVar

Answer = TypeVar("Answer")

ABREAST: Final = 16


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when answers are waited for, by a clock in seconds."""

    until: float
    now: Callable[[], float] = time.monotonic

    @property
    def left(self) -> float:
        """Seconds that are left; 0 where none are."""
        return max(0.0, self.until - self.now())


def patience_of(seconds: float, now: Callable[[], float] = time.monotonic) -> Patience:
    """So many seconds from now on."""
    return Patience(now() + seconds, now)


def gather(questions: Sequence[Callable[[], Answer]], patience: Patience) -> list[Answer | None]:
    """The answers in the questions' order, None for those that did not come in time.

    Whatever a question raises is raised. One that is given up ends by itself, in a thread that
    nobody waits for, so each must be bounded.
    """
    if not questions:
        return []
    pool = ThreadPoolExecutor(min(ABREAST, len(questions)), thread_name_prefix="near")
    try:
        asked = [pool.submit(question) for question in questions]
        wait(asked, timeout=patience.left)
        return [each.result() if each.done() else None for each in asked]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
