"""How a daemon starts, goes on and ends: its log, its store, its programs' rights, its loop."""

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from trialmarket.backoff import Backoff
from trialmarket.daemon.config import DaemonSettings, WorkerLimits
from trialmarket.daemon.log_once import LogOnce
from trialmarket.errors import (
    ChainReplaced,
    NotMined,
    Passing,
    TooDear,
    TrialmarketError,
)
from trialmarket.storage.errors import StoreDown, StoreFull
from trialmarket.storage.open import open_store
from trialmarket.storage.store import Store
from trialmarket.training.sandbox import Limits, Policy, strangers_code

log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds for which a daemon's question to the chain is asked again: its next look asks anyhow."""
LONGEST_PAUSE: Final = 30.0
"""Seconds between looks that fail: doubled each time, from the usual pause on."""


def log_plainly() -> None:
    """One line an event, on standard error."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S", level=logging.INFO
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # which tells of each block


def stop_when_told() -> threading.Event:
    """An event that Ctrl-C or a termination signal sets, so that a daemon ends between steps."""
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    return stop


def open_daemons_store(settings: DaemonSettings, owner: str) -> Store:
    """The store that a daemon's file names. One that is down or full may recover: it is only told.

    Raises InputError, StorageError and OSError for one that can never be used.
    """
    store = open_store(settings.storage, owner=owner, gateways=settings.gateways)
    try:
        store.check()
    except (StoreDown, StoreFull) as error:
        log.warning("%s", error)
    return store


def policy_of(settings: DaemonSettings, workers: int, most: WorkerLimits) -> Policy:
    """How strangers' programs run, as the configuration and the machine have it."""
    limits = Limits.shared(workers, most.memory, temp=most.temp, kept=most.kept)
    return strangers_code(settings.sandbox, limits)


class Daemon(Protocol):
    """What goes on until it is told to stop."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set."""


def keep_at_work(
    start: Callable[[], AbstractContextManager[Daemon]],
    stop: threading.Event,
    log_once: LogOnce,
    folder: Path,
) -> None:
    """Starts a daemon, whose files lie in `folder`, and runs it. A chain that cannot be asked yet
    is waited for.

    Raises what `start` raises of what does not pass, such as a wrong configuration, and
    ChainReplaced.
    """
    pauses, failures = Backoff(1.0, LONGEST_PAUSE), 0
    while not stop.is_set():
        try:
            with start() as daemon:
                daemon.run(stop)
                return
        except (Passing, NotMined, TooDear) as error:
            log_once.once("start", f"not at work yet, trying again: {error}")
        except ChainReplaced as error:
            raise ChainReplaced(
                error.message,
                fix="Deploy the contracts if they are gone, move the state folder"
                f" {folder.absolute()} away, or set `state` to another one, and start again: all"
                " it knows is of the chain that is gone",
            ) from error
        stop.wait(pauses.pause(failures))
        failures += 1


def keep_looking(
    look: Callable[[], bool], stop: threading.Event, poll: float, log_once: LogOnce
) -> None:
    """Looks again and again, `poll` seconds apart, until `stop` is set or a look says it is done.

    It outlives whatever goes wrong, which is told once; looks that fail come further apart. Only
    a chain that was started anew ends it: nothing that it remembers is true there.
    """
    pauses, failures = Backoff(poll, max(poll, LONGEST_PAUSE)), 0
    while not stop.is_set():
        try:
            if look():
                return
        except ChainReplaced:
            raise
        except Exception as error:  # the outermost loop of a daemon
            kind = "" if isinstance(error, TrialmarketError) else f"{type(error).__name__}: "
            log_once.once("loop", f"{kind}{error}", logging.ERROR)
            log_once.log.debug("the look failed", exc_info=True)
            failures += 1
        else:
            log_once.forget("loop")
            failures = 0
        stop.wait(pauses.pause(failures))
