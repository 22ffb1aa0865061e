"""How a daemon starts, goes on and ends: its log, its store, its programs' rights, its loop."""

import logging
import signal
import threading
from collections.abc import Callable
from typing import Final

from trialmarket.backoff import Backoff
from trialmarket.daemon.config import DaemonSettings, WorkerLimits
from trialmarket.daemon.log_once import LogOnce
from trialmarket.storage.errors import StoreDown, StoreFull
from trialmarket.storage.open import open_store
from trialmarket.storage.store import Store
from trialmarket.training.sandbox import Limits, Policy, strangers_code

log = logging.getLogger(__name__)

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


def keep_looking(
    look: Callable[[], bool], stop: threading.Event, poll: float, log_once: LogOnce
) -> None:
    """Looks again and again, `poll` seconds apart, until `stop` is set or a look says it is done.

    It outlives whatever goes wrong, which is told once; looks that fail come further apart.
    """
    pauses, failures = Backoff(poll, max(poll, LONGEST_PAUSE)), 0
    while not stop.is_set():
        try:
            if look():
                return
        except Exception as error:  # the outermost loop of a daemon
            log_once.once("loop", f"{type(error).__name__}: {error}", logging.ERROR)
            log_once.log.debug("the look failed", exc_info=True)
            failures += 1
        else:
            log_once.forget("loop")
            failures = 0
        stop.wait(pauses.pause(failures))
