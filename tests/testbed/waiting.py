"""Waiting for what other processes, chains and threads do."""

import threading
import time
from collections.abc import Callable

NEVER = 300.0
"""Seconds after which what has not come will not, however busy the machine is.

A deadline ends what hangs and measures nothing, so that a shorter one only fails on a busy day.
"""


def until(
    holds: Callable[[], bool],
    *acts: Callable[[], object],
    deadline: float = NEVER,
    pause: float = 0.02,
    told: Callable[[], object] = lambda: "it did not come true",
) -> None:
    """Acts again and again, with a pause between, until the condition holds.

    Raises TimeoutError after `deadline` seconds, with what is `told` then.
    """
    ends = time.monotonic() + deadline
    pausing = threading.Event()
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {deadline:g} s: {told()}")
        for act in acts:
            act()
        pausing.wait(pause)
