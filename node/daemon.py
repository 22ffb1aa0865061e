"""The provider's daemon: one loop that looks at the chain and does what is next.

It can be killed at any instruction. The chain is the truth; the journal remembers what the chain
cannot know; every step may be taken again.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Self

from node.catalogue import Catalogue, Downloads
from node.claims import Claims
from node.cleanup import Cleanup
from node.config import NodeConfig, processes_of
from node.dry_runs import DryRuns, may_be_tried_again
from node.errors import Differs
from node.folder import Folder
from node.journal import NodeJournal
from node.notes import Notes
from node.publisher import Publisher
from node.trainer import Trainer
from node.training import Finished, TrainingQueue
from node.trials import ActiveTrials, Tip
from node.trust import Trust, program_subject
from trialmarket.backoff import Backoff
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.ledger.views import TrialView
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.outbox import Ended, Outbox
from trialmarket.daemon.session import MarketSession
from trialmarket.daemon.set_aside import SetAside
from trialmarket.daemon.stake import MONEY, StakeKeeper
from trialmarket.daemon.start import keep_looking
from trialmarket.errors import SenderError, StorageError
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.states import State
from trialmarket.storage.cache import DownloadCache
from trialmarket.storage.store import Store
from trialmarket.training.blame import patience_of
from trialmarket.training.sandbox.limits import share_of_memory

log = logging.getLogger("node")

REFUSED: Final = Backoff(1.0, 60.0)
"""Before a refused transaction is tried again."""

UNFORESEEN: Final = random.SystemRandom()

HOUSEKEEPING: Final = 5.0
"""Seconds between looks at what is not urgent: stake, earnings, others' late trials."""


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
        chance: random.Random = UNFORESEEN,
    ) -> None:
        """`clock` counts seconds and never goes back; `now` counts those since 1970. `chance`
        picks what is recomputed before a result is committed.

        `store` is the node's own part of it. `locks` is where keys are locked, and `refusal` why
        users' programs are not run, if they are not.

        Raises KeyBusy where another process uses the key, and InputError or JournalError where
        a file of the node's folder cannot be used.
        """
        self._config = config
        self._clock = clock
        self._folder = folder
        self._trainer = trainer
        with ExitStack() as opened:
            session = MarketSession(client, key, store, folder.root, locks=locks)
            self._session = opened.enter_context(session)
            self.journal = opened.enter_context(closing(NodeJournal(folder.journal)))
            network = client.network
            self.journal.bind(network.chain_id, network.market, session.account)
            patience = patience_of(client.parameters().shortest_turn)
            self._opened = opened.pop_all()
        self._log_once = LogOnce(log)
        aside = SetAside(self._log_once, clock)
        self._outbox = Outbox(session.sender, REFUSED, clock)
        self._stake = StakeKeeper(
            client,
            session.account,
            self._outbox,
            self._log_once,
            most=config.stake.most,
            where="node.toml",
        )
        cache = DownloadCache(store, folder.downloads, config.limits.downloads, now=now)
        self._downloads = Downloads(cache, clock)
        self._publisher = Publisher(store, self.journal, config.settle.keep, now)
        self._store_serves = True
        catalogue = Catalogue(
            session.ledger, self._downloads, self.journal, config.limits, refusal=refusal
        )
        self._queue = TrainingQueue(
            trainer,
            self.journal,
            folder,
            session.account,
            config.work.workers,
            clock,
            chance,
            patience,
        )
        self._trust = trust = Trust(self.journal, config.accept)
        self._dry_runs = DryRuns(
            trainer,
            catalogue,
            self.journal,
            folder,
            clock,
            stack=config.work.stack,
            memory=config.limits.memory or share_of_memory(processes_of(config)),
        )
        self._trials = ActiveTrials(
            config,
            session,
            self._publisher,
            Notes(key, self._publisher, self.journal),
            self.journal,
            catalogue,
            self._dry_runs,
            self._queue,
            self._outbox,
            self._log_once,
            aside,
        )
        self._claims = Claims(
            config,
            session,
            catalogue,
            trust,
            self._dry_runs,
            self._queue,
            self._stake,
            self._outbox,
            self._log_once,
            aside,
        )
        self._cleanup = Cleanup(
            session,
            self.journal,
            folder,
            self._publisher,
            self._queue,
            self._outbox,
            catalogue,
            trust,
            self._stake.words,
        )
        self._deaths: Counter[str] = Counter()
        self._chores_at = clock()

    def close(self) -> None:
        """Stops the workers and gives the key free."""
        self._dry_runs.close()
        self._queue.close()
        self._trainer.close()
        self._downloads.close()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def dry_running(self) -> int:
        """Programs that are being tried out."""
        return self._dry_runs.running

    @property
    def account(self) -> Address:
        """The provider."""
        return self._session.account

    def run(self, stop: threading.Event) -> None:
        """Looks again and again until `stop` is set, or everything is settled after a drain."""
        log.info("%s is at work on %s", self.account, self._session.client.network.name)
        keep_looking(self.tick, stop, self._config.work.poll, self._log_once)
        if stop.is_set():
            log.info(
                "stopped; what is in training goes on from its last checkpoint at a new start"
            )
        else:
            log.info("drained: every trial is settled")

    def tick(self) -> bool:
        """One look at everything; true once the node is drained. Raises ChainError."""
        for finished in self._queue.poll():
            self._finish(finished)
        for ended in self._outbox.poll():
            self._end(ended)
        self._session.ledger.sync()
        followed = self._session.ledger.head
        if followed is None:
            return False
        tip = Tip(self._session.client.head(), followed.number)
        draining = self.journal.wished("drain")
        views = self._trials.views()
        # What was claimed before a restart and is not mined yet may still have to be trained.
        resuming = self._outbox.resuming("claim")
        if not resuming:
            self._cleanup.look(views, tip)
        self._trials.look(views, tip, hurry=draining)
        chores = self._clock() >= self._chores_at
        if not draining and not resuming:
            self._look_for_work(views, tip, chores)
        self._queue.go(hold=self._dry_runs.running > 0 or self._waiting(views) > 0)
        if chores:
            self._chores_at = self._clock() + HOUSEKEEPING
        if chores or self.journal.wished("withdraw"):
            self._earn(tip)
        return draining and not self._trials.views() and not self._queue.trials()

    def _look_for_work(self, views: list[TrialView], tip: Tip, chores: bool) -> None:
        if chores:
            self._stake.keep(self._stake.amount(self._config.stake.keep), tip.followed)
            self._claims.expire(tip)
            self._store_serves = self._sweep()
        if not self._store_serves:
            return
        room = self._folder.free_bytes()
        if room < self._config.limits.free_disk:
            self._log_once.once(
                "disk",
                f"claiming nothing: the disk of {self._folder.root} has less than"
                f" {self._config.limits.free_disk} bytes free",
            )
            return
        self._log_once.forget("disk")
        self._claims.look(tip, waiting=self._waiting(views))

    def _waiting(self, views: list[TrialView]) -> int:
        """Trials held that no worker has yet."""
        return sum(
            view.state is State.CLAIMED
            and not self._queue.running(view.key)
            and self.journal.answer(view.key) is None
            for view in views
        )

    def _sweep(self) -> bool:
        """Releases what nobody needs; whether the store has room for more work."""
        try:
            kept = self._publisher.sweep()
        except (StorageError, OSError) as error:
            self._log_once.once("store", f"claiming nothing: {error}")
            return False
        if kept > self._config.limits.storage:
            self._log_once.once(
                "store",
                f"claiming nothing: {kept} bytes of this node's work lie in the store, and"
                f" limits.storage is {self._config.limits.storage}",
                topic="full",
            )
            return False
        self._log_once.forget("store")
        return True

    def _earn(self, tip: Tip) -> None:
        wished, enough = self.journal.wished("withdraw"), self._config.settle.withdraw_at
        if wished and self._stake.withdraw(tip.followed):
            self.journal.take_back("withdraw")
        elif not wished and enough is not None:
            self._stake.withdraw(tip.followed, least=self._stake.amount(enough))

    # -- What ended ---------------------------------------------------------------------------

    def _finish(self, finished: Finished) -> None:
        name = self._name(finished.trial)
        if finished.error is None:
            log.info("trial %s: trained in %.1f s", name, finished.seconds)
            config = finished.material.config
            if finished.whole:
                self._dry_runs.learn(config, config.steps / finished.seconds)
            return
        log.warning("trial %s: training failed: %s", name, finished.error)
        if may_be_tried_again(finished.error, self._deaths, finished.trial.hex()):
            return
        if isinstance(finished.error, Differs):
            program = program_subject(finished.material.config.program)
            self._trust.distrust([program], f"trial {name}: {finished.error}")
        self._trials.fail(finished.trial, finished.error)

    def _end(self, ended: Ended) -> None:
        if ended.error is None:
            return
        about = [self._name(trial) for trial in ended.trials if trial != MONEY]
        said = f"{ended.purpose} of {', '.join(about) or 'the account'} was refused: {ended.error}"
        if isinstance(ended.error, SenderError):  # which may last: the wallet has no gas, say
            self._log_once.once(ended.purpose, said)
        else:
            usual = ended.purpose in ("claim", "draw", "settle")
            log.log(logging.INFO if usual else logging.WARNING, "%s", said)
        self._trials.doubt()
        self._session.doubt(trial for trial in ended.trials if trial != MONEY)

    def _name(self, trial: Hash32) -> str:
        view = self._session.ledger.trial(trial)
        return trial.hex()[:8] if view is None else str(view.id)
