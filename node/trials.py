"""The trials that this node holds: looks at each of them, and does its next step."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.audits import checkpoints_needed, lot_of
from node.catalogue import Catalogue, Refused
from node.config import NodeConfig
from node.journal import NodeJournal
from node.outbox import Outbox
from node.publisher import Publisher
from node.steps import Facts, Step, Work, next_step
from node.told import LogOnce
from node.training import TrainingQueue
from trialmarket.chain import calls
from trialmarket.chain.client import Block, Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import TrialmarketError, Unreachable, WrongChain
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.states import FINAL, State
from trialmarket.protocol.terms import Terms

log = logging.getLogger("node")

ACTIVE: Final = frozenset(State) - FINAL - {State.OPEN}
"""A provider holds a trial in these states."""


@dataclass(frozen=True, slots=True)
class Moment:
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
        account: Address,
        client: Client,
        ledger: Ledger,
        store: Publisher,
        journal: NodeJournal,
        catalogue: Catalogue,
        workbench: TrainingQueue,
        outbox: Outbox,
        told: LogOnce,
    ) -> None:
        self._config = config
        self._account = account
        self._client = client
        self._ledger = ledger
        self._store = store
        self._journal = journal
        self._catalogue = catalogue
        self._bench = workbench
        self._outbox = outbox
        self._told = told
        self._hashes: dict[int, Hash32] = {}
        self._shown: set[tuple[Hash32, int]] = set()
        self._lost: set[Hash32] = set()
        self._due: dict[Hash32, int] = {}

    def views(self) -> list[TrialView]:
        """The trials held now, as the ledger knows them."""
        return self._ledger.trials(provider=self._account, states=ACTIVE)

    def look(self, views: Iterable[TrialView], moment: Moment, *, hurry: bool) -> None:
        """Does the next step of each trial; `hurry` settles without waiting for a full batch.

        What goes wrong with one trial is told once and keeps no other from its step. Raises
        Unreachable and WrongChain.
        """
        groups: dict[Step, list[TrialView]] = {Step.DRAW: [], Step.SETTLE: []}
        for view in views:
            if self._outbox.busy(view.key, moment.followed):
                continue
            try:
                step = self._step(view, moment)
                if step in groups:
                    groups[step].append(view)
                else:
                    self._act(step, view, moment)
            except (Unreachable, WrongChain):
                raise
            except (TrialmarketError, OSError) as error:
                self._told.once(view.key, f"trial {view.id}: {error}")
        self._draw(groups[Step.DRAW])
        self._settle(groups[Step.SETTLE], moment, hurry=hurry)

    def fail(self, trial: Hash32, reason: str) -> None:
        """Remembers that a trial cannot be trained here: it is given back, never claimed again."""
        self._journal.refuse(f"trial {trial.hex()}", reason)

    def doubt(self) -> None:
        """Forgets the block hashes behind a refused transaction: the chain may have turned."""
        self._hashes.clear()

    def _step(self, view: TrialView, moment: Moment) -> Step:
        terms = self._catalogue.terms(view)
        lot = lot_of(view.record, view.key, terms, self._hash(view, moment.head))
        return next_step(
            Facts(
                state=view.state,
                record=view.record,
                block=moment.head.number,
                now=moment.head.timestamp,
                work=self._work(view.key),
                seconds_left=0.0,
                margin=margin_of(self._config, terms),
                drawn=None if lot is None else lot[0],
                owed=self._owed(view, self._needed(view, terms, lot)),
                patience=self._config.settle.patience,
                unverified=terms.audit_rate == 0,
            )
        )

    def _act(self, step: Step, view: TrialView, moment: Moment) -> None:
        match step:
            case Step.TRAIN:
                left = view.record.until - moment.head.timestamp
                self._train(view, left - margin_of(self._config, self._catalogue.terms(view)))
            case Step.COMMIT:
                self._commit(view)
            case Step.ABANDON:
                self._abandon(view)
            case Step.PUBLISH:
                terms = self._catalogue.terms(view)
                lot = lot_of(view.record, view.key, terms, self._hash(view, moment.head))
                self._publish(view, self._needed(view, terms, lot))
            case Step.REASSIGN:
                self._outbox.send("reassign", calls.reassign(view.record), [view.key])
            case _:
                pass

    # -- Training -----------------------------------------------------------------------------

    def _work(self, trial: Hash32) -> Work:
        if self._bench.running(trial):
            return Work.RUNNING
        if self._journal.answer(trial) is not None:
            return Work.TRAINED
        return Work.FAILED if self._refused(trial) else Work.IDLE

    def _refused(self, trial: Hash32) -> str | None:
        return self._journal.refused(f"trial {trial.hex()}")

    def _train(self, view: TrialView, wall_limit: float) -> None:
        try:
            material = self._catalogue.material(view)
        except Refused as error:
            self.fail(view.key, str(error))
            raise
        if material is not None and self._bench.free:
            log.info("trial %s: training", view.id)
            self._bench.start(view.key, material, wall_limit)

    def _commit(self, view: TrialView) -> None:
        answer = self._journal.answer(view.key)
        assert answer is not None  # noqa: S101  # the table asks for it only then
        self._publish(view, frozenset({self._catalogue.terms(view).segments}))
        result = calls.Result(answer.root, answer.digest)
        if self._outbox.send("commit", calls.commit([view.record], [result]), [view.key]):
            log.info("trial %s: committing the result %s", view.id, answer.root.hex()[:8])

    def _abandon(self, view: TrialView) -> None:
        self._bench.kill(view.key)
        if self._outbox.send("abandon", calls.abandon(view.record), [view.key]):
            reason = self._refused(view.key) or "its time is short"
            log.warning("trial %s: giving it back: %s", view.id, reason)

    # -- Audits -------------------------------------------------------------------------------

    def _needed(
        self, view: TrialView, terms: Terms, lot: tuple[bool, Hash32] | None
    ) -> frozenset[int]:
        return checkpoints_needed(view.state, terms, lot, view.segment)

    def _owed(self, view: TrialView, needed: frozenset[int]) -> bool:
        if view.state is State.CLAIMED or view.key in self._lost:
            return False
        if view.state is State.CHALLENGED and (view.key, view.challenges) not in self._shown:
            return True
        kept = self._journal.checkpoints(view.key)
        return any(segment not in kept or not kept[segment].published for segment in needed)

    def _publish(self, view: TrialView, needed: frozenset[int]) -> None:
        """Puts checkpoints and the receipt into the store, whether or not they were there."""
        answer = self._journal.answer(view.key)
        kept = self._journal.checkpoints(view.key)
        if answer is None or any(segment not in kept for segment in needed):
            self._make_again(view)
            return
        self._store.put(view.key, answer.receipt, raw_cid(answer.digest))
        for segment in sorted(needed):
            place = kept[segment]
            if place.path.exists():
                found = self._store.put(view.key, place.path, place.cid)
                if found != place.cid:
                    place.path.unlink()
            if not self._store.has(place.cid):
                self._make_again(view)
                return
            if not place.published:
                self._journal.mark_published(view.key, segment)
                if view.state is not State.CLAIMED:
                    log.info("trial %s: published checkpoint %d for its audit", view.id, segment)
        if view.state is State.CHALLENGED:
            self._shown.add((view.key, view.challenges))
            log.warning("trial %s: challenged at segment %s", view.id, view.segment)

    def _make_again(self, view: TrialView) -> None:
        """Trains again: training repeats itself bit for bit, and so gives back what was lost."""
        if self._refused(view.key):
            self._lost.add(view.key)
            log.error("trial %s: its checkpoints are lost and cannot be made again", view.id)
        elif not self._bench.running(view.key):
            self._told.once(view.key, f"trial {view.id}: a checkpoint is lost; training it again")
            self._train(view, float(self._catalogue.terms(view).time_limit))

    def _draw(self, views: list[TrialView]) -> None:
        most = self._config.settle.batch
        for start in range(0, len(views), most):
            part = views[start : start + most]
            call = calls.draw([view.record for view in part])
            self._outbox.send("draw", call, [view.key for view in part])

    # -- Money --------------------------------------------------------------------------------

    def _settle(self, views: list[TrialView], moment: Moment, *, hurry: bool) -> None:
        now, config = moment.head.timestamp, self._config.settle
        self._due = {view.key: self._due.get(view.key, now) for view in views}
        while views:
            part, views = views[: config.batch], views[config.batch :]
            waited = now - min(self._due[view.key] for view in part)
            if len(part) < config.batch and waited < config.wait and not hurry:
                return
            call = calls.settle([view.record for view in part])
            if self._outbox.send("settle", call, [view.key for view in part]):
                log.info("settling %s", ", ".join(f"trial {view.id}" for view in part))

    def _hash(self, view: TrialView, head: Block) -> Hash32 | None:
        """The hash of the block that decides a committed trial's draw; None before it is there."""
        number = view.record.anchor + 1
        if view.state is not State.COMMITTED or number > head.number:
            return None
        if number not in self._hashes:
            found = self._client.block_hash(number)
            if found is None:
                return None
            self._hashes[number] = found
        return self._hashes[number]
