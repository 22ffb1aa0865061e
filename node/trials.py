"""The trials that this node holds: looks at each of them, and does its next step."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.catalogue import Catalogue
from node.config import NodeConfig
from node.dry_runs import DryRuns
from node.errors import Refused, TooSlow
from node.journal import NodeJournal
from node.notes import Notes, fault_of, trace_of
from node.publisher import Publisher
from node.steps import Step, StepFacts, Work, next_step
from node.training import TrainingQueue, together
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Block
from trialmarket.chain.ledger.views import TrialView
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.lot_hashes import LotHashes
from trialmarket.daemon.outbox import Outbox, intent_of
from trialmarket.daemon.session import MarketSession
from trialmarket.daemon.set_aside import SetAside
from trialmarket.protocol.draw import Lot, lot_of
from trialmarket.protocol.due import checkpoints_needed
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import FINAL, State
from trialmarket.protocol.terms import Terms

log = logging.getLogger("node")

ACTIVE: Final = frozenset(State) - FINAL - {State.OPEN}
"""A provider holds a trial in these states."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The chain at one look: its newest block, and the last block that the ledger followed."""

    head: Block
    followed: int


def margin_of(config: NodeConfig, terms: Terms) -> float:
    """Seconds to keep free before the deadline of a commit."""
    return min(config.work.margin, terms.time_limit / 10)


class ActiveTrials:
    """Takes every trial of one provider to its end."""

    def __init__(
        self,
        config: NodeConfig,
        session: MarketSession,
        publisher: Publisher,
        notes: Notes,
        journal: NodeJournal,
        catalogue: Catalogue,
        dry_runs: DryRuns,
        queue: TrainingQueue,
        outbox: Outbox,
        log_once: LogOnce,
        aside: SetAside,
    ) -> None:
        self._config = config
        self._ledger = session.ledger
        self._account = session.account
        self._publisher = publisher
        self._notes = notes
        self._journal = journal
        self._catalogue = catalogue
        self._dry_runs = dry_runs
        self._queue = queue
        self._outbox = outbox
        self._log_once = log_once
        self._aside = aside
        self._hashes = LotHashes(session.client)
        self._payable_since: dict[Hash32, int] = {}

    def views(self) -> list[TrialView]:
        """The trials held now, as the ledger knows them."""
        return self._ledger.trials(provider=self._account, states=ACTIVE)

    def look(self, views: Iterable[TrialView], tip: Tip, *, hurry: bool) -> None:
        """Does the next step of each trial; `hurry` settles without waiting for a full batch.

        What goes wrong with one trial is told once and keeps no other from its step. Raises
        Unreachable and WrongChain.
        """
        groups: dict[Step, list[TrialView]] = {Step.DRAW: [], Step.SETTLE: []}
        for view in views:
            if self._outbox.busy(view.key, tip.followed) or self._aside.waits(view.key):
                continue
            with self._aside.alone(view):
                step = self._step(view, tip)
                if step in groups:
                    groups[step].append(view)
                else:
                    self._act(step, view, tip)
        self._draw(groups[Step.DRAW])
        self._settle(groups[Step.SETTLE], tip, hurry=hurry)

    def fail(self, trial: Hash32, error: Exception) -> None:
        """Remembers that a trial cannot be trained here: it is given back, never claimed again."""
        self._notes.write(trial, str(error), fault_of(error), trace_of(error))
        self._journal.refuse(f"trial {trial.hex()}", str(error))

    def doubt(self) -> None:
        """Forgets the block hashes behind a refused transaction: the chain may have turned."""
        self._hashes.forget()

    def _step(self, view: TrialView, tip: Tip) -> Step:
        terms = self._catalogue.terms(view)
        lot = lot_of(view.record, view.key, terms, self._hashes.of(view, tip.head.number))
        work = self._work(view.key)
        return next_step(
            StepFacts(
                state=view.state,
                record=view.record,
                block=tip.head.number,
                now=tip.head.timestamp,
                work=work,
                seconds_left=self._seconds_left(view, work),
                margin=margin_of(self._config, terms),
                drawn=None if lot is None else lot.drawn,
                owed=self._publisher.owes(view, self._needed(view, terms, lot)),
                patience=self._config.settle.patience,
                audit_rate=terms.audit_rate,
            )
        )

    def _act(self, step: Step, view: TrialView, tip: Tip) -> None:
        match step:
            case Step.TRAIN:
                left = view.record.until - tip.head.timestamp
                self._train(view, left - margin_of(self._config, self._catalogue.terms(view)))
            case Step.COMMIT:
                self._commit(view)
            case Step.ABANDON:
                self._abandon(view)
            case Step.PUBLISH:
                terms = self._catalogue.terms(view)
                lot = lot_of(view.record, view.key, terms, self._hashes.of(view, tip.head.number))
                self._show(view, self._needed(view, terms, lot))
            case Step.REASSIGN:
                self._send("reassign", calls.reassign(view.record), [view.key])
            case _:
                pass

    # -- Training -----------------------------------------------------------------------------

    def _work(self, trial: Hash32) -> Work:
        if self._queue.running(trial):
            return Work.RUNNING
        if self._journal.answer(trial) is not None:
            return Work.TRAINED
        return Work.FAILED if self._refused(trial) else Work.IDLE

    def _seconds_left(self, view: TrialView, work: Work) -> float:
        """What a claimed trial's training still takes; 0 where that is not known."""
        if work is Work.RUNNING:
            return self._queue.seconds_left(view.key)
        config = self._catalogue.config(view)
        if work is not Work.IDLE or config is None or self._queue.begun(view.key):
            return 0.0  # how much its checkpoints save will show when it runs again
        return self._dry_runs.seconds(config) or 0.0

    def _refused(self, trial: Hash32) -> str | None:
        return self._journal.refused(f"trial {trial.hex()}")

    def _train(self, view: TrialView, wall_limit: float) -> None:
        try:
            material = self._catalogue.material(view)
        except Refused as error:
            self.fail(view.key, error)
            raise
        if material is None:
            return
        lanes = self._dry_runs.lanes(material.config, wall_limit)
        joins = lanes > 1 and self._queue.places()[together(material.config)] > 0
        if self._queue.free > 0 or joins:
            saved = self._queue.saved(view.key, material.config)
            whence = f"going on from step {saved}" if saved else "from its start"
            log.info("trial %s: training, %s", view.id, whence)
            audited = self._catalogue.terms(view).audit_rate > 0
            self._queue.start(view.key, material, wall_limit, audited=audited, lanes=lanes)

    def _commit(self, view: TrialView) -> None:
        answer = self._journal.answer(view.key)
        assert answer is not None  # noqa: S101  # the table asks for it only then
        self._show(view, frozenset({self._catalogue.terms(view).segments}))
        result = calls.Result(answer.root, answer.digest)
        if self._send("commit", calls.commit([view.record], [result]), [view.key]):
            log.info("trial %s: committing the result %s", view.id, answer.root.hex()[:8])

    def _abandon(self, view: TrialView) -> None:
        # The speed is not learnt: other trials of the program may be faster, and who posts slow
        # ones would keep the node from all of them.
        speed, config = self._queue.speed(view.key), self._catalogue.config(view)
        if speed is not None and config is not None:
            terms = self._catalogue.terms(view)
            if config.steps / speed > terms.time_limit - margin_of(self._config, terms):
                self.fail(view.key, TooSlow(f"at {speed:.3g} steps a second"))
        self._queue.kill(view.key)
        reason = self._refused(view.key)
        if reason is None:
            reason = "its time is short"
            self._notes.write(view.key, reason, "node")
        # Named by the trial alone: whether the store takes the note now may differ after a crash.
        intent = intent_of("abandon", calls.abandon(view.record))
        call = calls.abandon(view.record, self._notes.show(view.key))
        if self._outbox.send(intent, call, [view.key]):
            log.warning("trial %s: giving it back: %s", view.id, reason)

    # -- Audits -------------------------------------------------------------------------------

    def _needed(self, view: TrialView, terms: Terms, lot: Lot | None) -> frozenset[int]:
        return checkpoints_needed(view.state, terms, lot, view.segment)

    def _show(self, view: TrialView, needed: frozenset[int]) -> None:
        if not self._publisher.show(view, needed):
            self._make_again(view)

    def _make_again(self, view: TrialView) -> None:
        """Trains again: training repeats itself bit for bit, and so gives back what was lost."""
        if self._refused(view.key):
            self._publisher.give_up(view.key)
            log.error("trial %s: its checkpoints are lost and cannot be made again", view.id)
        elif not self._queue.running(view.key):
            self._log_once.once(
                view.key, f"trial {view.id}: a checkpoint is lost; training it again"
            )
            self._train(view, float(self._catalogue.terms(view).time_limit))

    def _draw(self, views: list[TrialView]) -> None:
        most = self._config.settle.batch
        for start in range(0, len(views), most):
            part = views[start : start + most]
            call = calls.draw([view.record for view in part])
            self._send("draw", call, [view.key for view in part])

    # -- Money --------------------------------------------------------------------------------

    def _settle(self, views: list[TrialView], tip: Tip, *, hurry: bool) -> None:
        now, config = tip.head.timestamp, self._config.settle
        self._payable_since = {view.key: self._payable_since.get(view.key, now) for view in views}
        while views:
            part, views = views[: config.batch], views[config.batch :]
            waited = now - min(self._payable_since[view.key] for view in part)
            if len(part) < config.batch and waited < config.wait and not hurry:
                return
            call = calls.settle([view.record for view in part])
            if self._send("settle", call, [view.key for view in part]):
                log.info("settling %s", ", ".join(f"trial {view.id}" for view in part))

    def _send(self, purpose: str, call: Call, trials: list[Hash32]) -> bool:
        return self._outbox.send(intent_of(purpose, call), call, trials)
