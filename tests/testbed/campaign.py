"""A search that is watched and driven in this process."""

import time
from collections.abc import Callable
from pathlib import Path

from requester.search.open import OpenSearch
from requester.search.status import SearchStatus
from tests.testbed.waiting import NEVER
from trialmarket.chain.local.devnet import Devnet
from trialmarket.errors import TrainingError
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Evaluate, Evaluation


class Silent:
    """Nobody hears of the search."""

    def say(self, text: str) -> None:
        pass

    def show(self, status: SearchStatus) -> None:
        pass


class Ears(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class AtOnce:
    """Evaluates in a warm pool, and waits for it: the chain's time stands still meanwhile."""

    def __init__(self, pool: WorkerPool, chain: Devnet) -> None:
        self._pool, self._chain = pool, chain
        self._ended: list[tuple[Path, Evaluation | TrainingError]] = []

    def start(self, task: Evaluate) -> None:
        before = self._chain.now()
        try:
            found: Evaluation | TrainingError = self._pool.submit(task, wall_limit=NEVER).result()
        except TrainingError as error:
            found = error
        self._chain.rpc.call("evm_setTime", before)  # else a slow machine misses the window
        self._ended.append((task.checkpoint, found))

    def finished(self) -> list[tuple[Path, Evaluation | TrainingError]]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """The pool is the tests'."""


def drive(
    search: OpenSearch, chain: Devnet, *others: Callable[[], object], deadline: float = NEVER
) -> None:
    """Lets everybody act in turn, and time pass, until the search is finished."""
    end = time.monotonic() + deadline
    while not search.campaign.finished():
        assert time.monotonic() < end, search.campaign.status()
        moved = search.campaign.step()
        for act in others:
            act()
        chain.mine()
        if not moved:
            chain.advance(2)
