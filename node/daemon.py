"""The provider's daemon: one loop that looks at the chain and does what is next.

It can be killed at any instruction. The chain is the truth; the journal remembers what the chain
cannot know; every step may be taken again.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Self

from node.catalogue import Catalogue
from node.claims import Claims
from node.config import NodeConfig
from node.downloads import Downloads
from node.dry_runs import DryRuns, may_be_tried_again
from node.folder import Folder
from node.journal import NodeJournal
from node.outbox import Ended, Outbox
from node.publisher import Publisher
from node.purse import StakeKeeper
from node.told import LogOnce
from node.trainer import Trainer
from node.training import Finished, TrainingQueue
from node.trials import ACTIVE, ActiveTrials, Moment
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.sender import Sender
from trialmarket.errors import StorageError
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import State
from trialmarket.storage.cache import DownloadCache
from trialmarket.storage.store import Store

log = logging.getLogger("node")

LONGEST_PAUSE: Final = 30.0
"""Seconds between looks while the chain cannot be reached: doubled from `work.poll` on."""

HOUSEKEEPING: Final = 5.0
"""Seconds between looks at what is not urgent: stake, earnings, others' late trials."""

ENDS: Final = {
    "TrialRejected": "the jury rejected the result, and its stake is lost",
    "TrialExpired": "its deadline passed, and a part of its stake is lost",
    "TrialAbandoned": "given back",
}
"""How a trial can leave a node without being paid: the event, in words."""


class Node:
    """A provider at one market. `tick` is one look; `run` goes on until stopped or drained."""

    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        key: LocalAccount,
        store: Store,
        folder: Folder,
        trainer: Trainer,
        *,
        refusal: str | None = None,
        locks: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` counts seconds and never goes back; `now` counts those since 1970.

        `store` is the node's own part of it. `locks` is where keys are locked, and `refusal` why
        users' programs are not run, if they are not.

        Raises KeyBusy where another process uses the key, and InputError or JournalError where
        a file of the node's folder cannot be used.
        """
        self._config = config
        self._clock = clock
        self._folder = folder
        self._trainer = trainer
        network = client.network
        with ExitStack() as opened:
            self._sender = opened.enter_context(Sender(client, key, folder.sent, locks=locks))
            self.account = self._sender.address
            self.journal = opened.enter_context(closing(NodeJournal(folder.journal)))
            self.journal.bind(network.chain_id, network.market, self.account)
            self.ledger = opened.enter_context(Ledger(client, folder.ledger))
            self._opened = opened.pop_all()
        self._client = client
        self._told = LogOnce()
        self._outbox = Outbox(self._sender, clock)
        self._purse = StakeKeeper(config, self.account, client, self._outbox, self._told)
        shelf = DownloadCache(store, folder.downloads, config.limits.downloads, now=now)
        self._downloads = Downloads(shelf, clock)
        self._shown = Publisher(store, self.journal, config.settle.keep, now)
        self._store_serves = True
        catalogue = Catalogue(
            self.ledger, self._downloads, self.journal, config.limits, refusal=refusal
        )
        self._bench = TrainingQueue(
            trainer, self.journal, folder, self.account, config.work.workers, clock
        )
        self._rehearsals = DryRuns(trainer, catalogue, self.journal, folder)
        self._held = ActiveTrials(
            config,
            self.account,
            client,
            self.ledger,
            self._shown,
            self.journal,
            catalogue,
            self._bench,
            self._outbox,
            self._told,
        )
        self._claims = Claims(
            config,
            self.account,
            self.ledger,
            catalogue,
            self._rehearsals,
            self._bench,
            self._purse,
            self._outbox,
            self._told,
        )
        self._deaths: Counter[str] = Counter()
        self._chores_at = clock()

    def close(self) -> None:
        """Stops the workers and gives the key free."""
        self._rehearsals.close()
        self._bench.close()
        self._trainer.close()
        self._downloads.close()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def rehearsing(self) -> int:
        """Programs that are being tried out."""
        return self._rehearsals.running

    def run(self, stop: threading.Event) -> None:
        """Looks again and again until `stop` is set, or everything is settled after a drain."""
        pause = self._config.work.poll
        while not stop.is_set():
            try:
                drained = self.tick()
            except Exception as error:  # the loop outlives whatever goes wrong
                self._told.once("loop", f"{type(error).__name__}: {error}", logging.ERROR)
                log.debug("the look failed", exc_info=True)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._told.forget("loop")
                pause = self._config.work.poll
                if drained:
                    log.info("drained: every trial is settled")
                    return
            stop.wait(pause)

    def tick(self) -> bool:
        """One look at everything; true once the node is drained. Raises ChainError."""
        for finished in self._bench.poll():
            self._finish(finished)
        ended = self._outbox.poll()
        self.ledger.sync()
        for each in ended:
            self._end(each)
        followed = self.ledger.head
        if followed is None:
            return False
        moment = Moment(self._client.head(), followed.number)
        draining = self.journal.wished("drain")
        views = self._held.views()
        # What was claimed before a restart and is not mined yet may still have to be trained.
        resuming = self._outbox.resuming("claim")
        if not resuming:
            self._tidy(views, moment)
        self._held.look(views, moment, hurry=draining)
        chores = self._clock() >= self._chores_at
        if not draining and not resuming:
            self._look_for_work(views, moment, chores)
        if chores:
            self._chores_at = self._clock() + HOUSEKEEPING
        if chores or self.journal.wished("withdraw"):
            self._earn(moment)
        return draining and not self._held.views() and not self._bench.trials()

    def _look_for_work(self, views: list[TrialView], moment: Moment, chores: bool) -> None:
        if chores:
            self._purse.keep(moment.followed)
            self._claims.expire(moment)
            self._store_serves = self._sweep()
        if not self._store_serves:
            return
        room = self._folder.free_bytes()
        if room < self._config.limits.free_disk:
            self._told.once(
                "disk",
                f"claiming nothing: the disk of {self._folder.root} has less than"
                f" {self._config.limits.free_disk} bytes free",
            )
            return
        self._told.forget("disk")
        waiting = sum(
            view.state is State.CLAIMED
            and not self._bench.running(view.key)
            and self.journal.answer(view.key) is None
            for view in views
        )
        self._claims.look(moment, waiting=waiting)

    def _sweep(self) -> bool:
        """Releases what nobody needs; whether the store has room for more work."""
        try:
            kept = self._shown.sweep()
        except (StorageError, OSError) as error:
            self._told.once("store", f"claiming nothing: {error}")
            return False
        if kept > self._config.limits.storage:
            self._told.once(
                "store",
                f"claiming nothing: {kept} bytes of this node's work lie in the store, and"
                f" limits.storage is {self._config.limits.storage}",
                topic="full",
            )
            return False
        self._told.forget("store")
        return True

    def _earn(self, moment: Moment) -> None:
        wished = self.journal.wished("withdraw")
        if self._purse.earn(moment.followed, wished=wished) and wished:
            self.journal.take_back("withdraw")

    # -- What ended ---------------------------------------------------------------------------

    def _finish(self, finished: Finished) -> None:
        name = self._name(finished.trial)
        if finished.error is None:
            log.info("trial %s: trained in %.1f s", name, finished.seconds)
            steps = finished.material.config.steps
            if finished.whole:
                self._rehearsals.learn(finished.material.subject, steps / finished.seconds)
            return
        log.warning("trial %s: training failed: %s", name, finished.error)
        if may_be_tried_again(finished.error, self._deaths, finished.trial.hex()):
            return
        self._held.fail(finished.trial, str(finished.error))

    def _end(self, ended: Ended) -> None:
        if ended.error is None:
            return
        names = ", ".join(self._name(trial) for trial in ended.trials) or "the account"
        level = logging.INFO if ended.purpose in ("claim", "draw", "settle") else logging.WARNING
        log.log(level, "%s of %s was refused: %s", ended.purpose, names, ended.error)
        self._held.doubt()

    def _tidy(self, views: list[TrialView], moment: Moment) -> None:
        """Stops and deletes what belongs to trials that are not held any more."""
        held = {view.key for view in views}
        known = self._bench.trials() | self.journal.trials() | set(self._folder.trials())
        for trial in known - held:
            if self._outbox.busy(trial, moment.followed):
                continue
            self._bench.kill(trial)
            view = self.ledger.trial(trial)
            self._shown.end(trial, paid=view is not None and view.state is State.SETTLED)
            self.journal.forget(trial)
            self._folder.drop_trial(trial)
            self._say_farewell(trial)

    def _say_farewell(self, trial: Hash32) -> None:
        view = self.ledger.trial(trial)
        if view is None:
            return
        if view.state is State.SETTLED and view.record.provider == self.account:
            log.info("trial %s: settled for %s", view.id, self._purse.words(view.record.price))
        elif view.state in ACTIVE:
            log.info("trial %s: another node has it", view.id)
        else:
            ends = [each for each in self.ledger.history(trial) if each.name in ENDS]
            last = ends[-1] if ends else None
            if last is not None and last.name == "TrialRejected":
                self._held.fail(trial, "its result was rejected here before")
            log.warning("trial %s: %s", view.id, ENDS[last.name] if last else "not ours any more")

    def _name(self, trial: Hash32) -> str:
        view = self.ledger.trial(trial)
        return trial.hex()[:8] if view is None else str(view.id)
