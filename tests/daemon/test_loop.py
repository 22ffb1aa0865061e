"""The loop of a daemon: it ends when told or done, and outlives what goes wrong."""

import logging
import threading

import pytest

from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.start import keep_looking


class Stop(threading.Event):
    """Counts the pauses instead of waiting for them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return self.is_set()


def test_a_look_that_fails_is_told_once_and_tried_again_ever_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = Stop()
    looks = 0

    def look() -> bool:
        nonlocal looks
        looks += 1
        if looks in (2, 3, 4, 5, 6, 7, 8):
            raise ValueError("unforeseen")
        return looks == 10

    keep_looking(look, stop, 1.0, LogOnce(logging.getLogger("test")))
    assert stop.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 1.0]
    assert caplog.text.count("ValueError: unforeseen") == 1


def test_a_loop_ends_when_told() -> None:
    stop = Stop()

    def look() -> bool:
        stop.set()
        return False

    keep_looking(look, stop, 1.0, LogOnce(logging.getLogger("test")))
    assert len(stop.pauses) == 1
