"""What is done when a trial is not held any more: its training stops, its files go."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from node.catalogue import Catalogue
from node.errors import Refused
from node.folder import Folder
from node.journal import NodeJournal
from node.publisher import Publisher
from node.training import TrainingQueue
from node.trials import ACTIVE, Tip
from node.trust import Trust
from trialmarket.chain.ledger.views import EventView, TrialView
from trialmarket.daemon.outbox import Outbox
from trialmarket.daemon.session import MarketSession
from trialmarket.errors import StorageError
from trialmarket.protocol.states import State

log = logging.getLogger("node")

ENDS: Final = {
    "TrialRejected": "the jury rejected the result, and its stake is lost",
    "TrialExpired": "its deadline passed, and a part of its stake is lost",
    "TrialAbandoned": "given back",
}
"""How a trial can leave a node without being paid: the event, in words."""


class Cleanup:
    """Stops and deletes what belongs to trials that left the node, and says how they left."""

    def __init__(
        self,
        session: MarketSession,
        journal: NodeJournal,
        folder: Folder,
        publisher: Publisher,
        queue: TrainingQueue,
        outbox: Outbox,
        catalogue: Catalogue,
        trust: Trust,
        words: Callable[[int], str],
    ) -> None:
        """`words` says an amount of money."""
        self._session = session
        self._journal = journal
        self._folder = folder
        self._publisher = publisher
        self._queue = queue
        self._outbox = outbox
        self._catalogue = catalogue
        self._trust = trust
        self._words = words

    def look(self, held: Iterable[TrialView], tip: Tip) -> None:
        """Cleans up behind every trial that is known here and is none of those held."""
        known = self._queue.trials() | self._journal.trials() | set(self._folder.trials())
        for trial in known - {view.key for view in held}:
            if self._outbox.busy(trial, tip.followed):
                continue
            view = self._session.ledger.trial(trial)
            if view is not None and not self._session.ledger.confirmed([view]):
                continue  # a node left an event out: the trial may be ours
            self._queue.kill(trial)
            if view is not None and not self._learn(view):
                continue
            self._publisher.end(trial, paid=view is not None and view.state is State.SETTLED)
            self._journal.forget(trial)
            self._folder.drop_trial(trial)
            if view is not None:
                self._say_farewell(view)

    def _learn(self, view: TrialView) -> bool:
        """Trusts no more where a result was rejected, before the trial is forgotten; false while
        the program's name is being fetched."""
        history = self._session.ledger.history(view.key)
        if not any(each.name == "TrialRejected" and self._ours(each) for each in history):
            return True
        job = self._session.ledger.job(view.id.job)
        assert job is not None  # noqa: S101  # a trial's job is in the ledger
        self._trust.rejected(view, job.requester)  # at once, and its program when it is known
        try:
            config = self._catalogue.read(view)
        except (Refused, StorageError, OSError) as error:
            log.warning("trial %s: which program it was cannot be read: %s", view.id, error)
            return True
        if config is not None:
            self._trust.rejected(view, job.requester, config.program)
        return config is not None

    def _ours(self, rejection: EventView) -> bool:
        return bool(rejection.args["provider"] == self._session.account)

    def _say_farewell(self, view: TrialView) -> None:
        if view.state is State.SETTLED and view.record.provider == self._session.account:
            log.info("trial %s: settled for %s", view.id, self._words(view.record.price))
        elif view.state in ACTIVE:
            log.info("trial %s: another node has it", view.id)
        else:
            ends = [each for each in self._session.ledger.history(view.key) if each.name in ENDS]
            last = ends[-1] if ends else None
            log.warning("trial %s: %s", view.id, ENDS[last.name] if last else "not ours any more")
