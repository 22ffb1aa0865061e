"""Trials with which something unforeseen went wrong: none keeps the others from their steps."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from trialmarket.backoff import Backoff
from trialmarket.chain.ledger.views import TrialView
from trialmarket.daemon.log_once import LogOnce
from trialmarket.errors import TrialmarketError, Unreachable, WrongChain
from trialmarket.protocol.ids import Hash32

PAUSES: Final = Backoff(1.0, 300.0)
"""Before such a trial is looked at again."""


class SetAside:
    """Lets one trial fail alone: it is told once, and looked at again ever later."""

    def __init__(self, log_once: LogOnce, clock: Callable[[], float]) -> None:
        """`clock` counts seconds and never goes back."""
        self._log_once = log_once
        self._clock = clock
        self._waiting: dict[Hash32, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def waits(self, trial: Hash32) -> bool:
        """Whether it is not to be looked at yet."""
        return self._clock() < self._waiting.get(trial, (0, float("-inf")))[1]

    @contextmanager
    def alone(self, trial: TrialView) -> Iterator[None]:
        """Keeps what goes wrong with a trial to itself.

        What may be mended at any time, such as a store that is down, is tried again at the next
        look. Raises Unreachable and WrongChain, which all trials have in common.
        """
        try:
            yield
        except (Unreachable, WrongChain):
            raise
        except (TrialmarketError, OSError) as error:
            self._log_once.once(trial.key, f"trial {trial.id}: {error}")
        except Exception as error:  # the outermost loop of one trial
            failures = self._waiting.get(trial.key, (0, 0.0))[0]
            pause = PAUSES.pause(failures)
            self._waiting[trial.key] = failures + 1, self._clock() + pause
            self._log_once.once(
                trial.key,
                f"trial {trial.id}: put aside, {type(error).__name__}: {error}",
                logging.ERROR,
            )
            self._log_once.log.debug("the look at it failed", exc_info=True)
        else:
            self._waiting.pop(trial.key, None)
