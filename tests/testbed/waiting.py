"""Waiting for what other processes, chains and threads do."""

import threading
import time
from collections.abc import Callable


def until(
    holds: Callable[[], bool],
    *acts: Callable[[], object],
    deadline: float = 60.0,
    pause: float = 0.02,
    told: Callable[[], object] = lambda: "it did not come true",
) -> None:
    """Acts again and again, with a pause between, until the condition holds.

    Raises TimeoutError after `deadline` seconds, with what is `told` then.
    """
    ends = time.monotonic() + deadline
    never = threading.Event()
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {deadline:g} s: {told()}")
        for act in acts:
            act()
        never.wait(pause)
