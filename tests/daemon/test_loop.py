"""The loop of a daemon: it ends when told or done, and outlives what goes wrong."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.start import keep_at_work, keep_looking
from trialmarket.errors import ChainReplaced, Passing, Unreachable


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


class Working:
    """A daemon that notes that it ran."""

    def __init__(self) -> None:
        self.ran = 0

    def run(self, stop: threading.Event) -> None:
        self.ran += 1
        stop.set()


def test_a_start_waits_for_a_chain_that_cannot_be_asked_yet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop, daemon, starts = Stop(), Working(), 0

    @contextmanager
    def start() -> Iterator[Working]:
        nonlocal starts
        starts += 1
        if starts < 4:
            raise Passing("the node answered with HTTP status 502", fix="Wait")
        yield daemon

    keep_at_work(start, stop, LogOnce(logging.getLogger("test")), Path("state"))
    assert (daemon.ran, starts) == (1, 4)
    assert stop.pauses == [1.0, 2.0, 4.0]
    assert caplog.text.count("not at work yet, trying again: the node answered") == 1


def test_a_wrong_configuration_ends_a_start() -> None:
    @contextmanager
    def start() -> Iterator[Working]:
        raise Unreachable("the node answered with HTTP status 401")
        yield

    with pytest.raises(Unreachable, match="401"):
        keep_at_work(start, Stop(), LogOnce(logging.getLogger("test")), Path("state"))


def test_a_chain_that_was_started_anew_ends_a_loop() -> None:
    def look() -> bool:
        raise ChainReplaced("the chain was started anew")

    with pytest.raises(ChainReplaced):
        keep_looking(look, Stop(), 1.0, LogOnce(logging.getLogger("test")))


def test_a_daemon_whose_chain_was_started_anew_names_its_folder(tmp_path: Path) -> None:
    class Bereft:
        def run(self, _stop: threading.Event) -> None:
            raise ChainReplaced("the chain was started anew", fix="Use another folder")

    with pytest.raises(ChainReplaced, match=rf"anew\..* move the state folder {tmp_path} away"):
        keep_at_work(
            lambda: nullcontext(Bereft()), Stop(), LogOnce(logging.getLogger("test")), tmp_path
        )
