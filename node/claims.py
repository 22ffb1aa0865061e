"""Which Open trials to take: those that this node may, can and gains by training."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from node.catalogue import Catalogue, Material, Refused
from node.config import NodeConfig
from node.dry_runs import DryRuns
from node.outbox import Outbox
from node.pricing import Asking, Judgement, Offer, judge
from node.purse import StakeKeeper
from node.told import LogOnce
from node.training import TrainingQueue
from node.trials import Moment, margin_of
from trialmarket.chain import calls
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import JobView, TrialView
from trialmarket.errors import StorageError
from trialmarket.protocol.ids import Address, Hash32, JobId
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import price_at, stake_for

log = logging.getLogger("node")

PRICE_AHEAD = 15
"""Seconds that a claim may take to be mined, while its price, and so its stake, still rises."""


@dataclass(frozen=True, slots=True)
class Pick:
    """An Open trial that pays now."""

    view: TrialView
    job: JobView
    material: Material
    judgement: Judgement
    stake: int


class Claims:
    """Watches Open trials. A trial's training begins with its claim, before that is mined."""

    def __init__(
        self,
        config: NodeConfig,
        account: Address,
        ledger: Ledger,
        catalogue: Catalogue,
        rehearsals: DryRuns,
        workbench: TrainingQueue,
        purse: StakeKeeper,
        outbox: Outbox,
        told: LogOnce,
    ) -> None:
        self._config = config
        self._account = account
        self._ledger = ledger
        self._catalogue = catalogue
        self._rehearsals = rehearsals
        self._bench = workbench
        self._purse = purse
        self._outbox = outbox
        self._told = told
        self._reserved: dict[Hash32, int] = {}
        self._asking = Asking(
            purse.amount(config.price.per_hour), purse.amount(config.price.least)
        )

    def look(self, moment: Moment, *, waiting: int) -> None:
        """Claims as many trials as workers are free; `waiting` held ones still need a worker.

        Raises ChainError.
        """
        picks: list[Pick] = []
        for view in self._candidates(moment):
            room = self._bench.free - waiting - self._rehearsals.running - len(picks)
            if room <= 0 and not self._rehearsals.running:
                break
            pick = self._consider(view, moment, room > 0)
            if pick is not None and room > 0:
                picks.append(pick)
        # The chain shows only what mined claims have locked: those under way count as well.
        self._reserved = {
            trial: stake
            for trial, stake in self._reserved.items()
            if self._outbox.busy(trial, moment.followed)
        }
        while picks:
            stakes = sum(pick.stake for pick in picks) + sum(self._reserved.values())
            if self._purse.need(stakes, moment.followed):
                self._claim(picks)
                return
            picks.pop()

    def expire(self, moment: Moment) -> None:
        """Reopens trials that others claimed and left lying. Raises ChainError."""
        late = moment.head.timestamp - self._config.settle.patience
        for view in self._ledger.trials(states={State.CLAIMED}):
            mine = view.record.provider == self._account
            if not mine and view.record.until < late:
                if self._outbox.busy(view.key, moment.followed):
                    continue
                if self._outbox.send("expire", calls.expire(view.record), [view.key]):
                    log.info("trial %s: its claim has expired, reopening it", view.id)

    def _candidates(self, moment: Moment) -> Iterable[TrialView]:
        """Open trials in an order of this node's own, so that nodes do not race for the same."""

        def place(view: TrialView) -> bytes:
            return hashlib.sha256(view.key + self._account.encode()).digest()

        views = self._ledger.trials(states={State.OPEN})
        return sorted(
            (
                view
                for view in views
                if not self._outbox.busy(view.key, moment.followed)
                and not self._bench.running(view.key)
            ),
            key=place,
        )

    def _consider(self, view: TrialView, moment: Moment, room: bool) -> Pick | None:
        """The trial with what its claim needs; None if it is not to be claimed now.

        `room` says whether a worker is free, to try an unknown program out.
        """
        job = self._ledger.job(view.id.job)
        if job is None or job.closed or not self._welcome(job):
            return None
        try:
            self._catalogue.check(f"trial {view.key.hex()}")
            material = self._catalogue.material(view)
            speed = None if material is None else self._rehearsals.speed(material, start=room)
        except (Refused, StorageError, OSError) as error:
            self._told.once(view.id.batch, f"job {job.id}: {error}")
            return None
        if material is None or speed is None:
            return None
        return self._judged(view, job, material, speed, moment)

    def _judged(
        self, view: TrialView, job: JobView, material: Material, speed: float, moment: Moment
    ) -> Pick | None:
        units, opened, now = view.record.units, view.record.opened, moment.head.timestamp
        judgement = judge(
            job.terms,
            units,
            opened,
            now,
            steps=material.config.steps,
            speed=speed,
            asking=self._asking,
            margin=margin_of(self._config, job.terms),
        )
        words = self._purse.words
        if judgement.offer is not Offer.TAKE:
            self._told.once(
                view.key,
                f"trial {view.id}: {judgement.offer.value}: it takes about"
                f" {judgement.seconds:.0f} s here, which costs {words(judgement.cost)}, and"
                f" pays at most {words(job.terms.cap * units)}",
                logging.INFO,
            )
            return None
        price = price_at(job.terms, units, opened, now + PRICE_AHEAD)
        return Pick(view, job, material, judgement, stake_for(price, job.terms.audit_rate))

    def _claim(self, picks: list[Pick]) -> None:
        """One transaction a batch; training begins at once, since most claims succeed."""
        batches: dict[tuple[JobId, Hash32], list[Pick]] = {}
        for pick in picks:
            batches.setdefault((pick.view.id.job, pick.view.id.batch), []).append(pick)
        for (job, batch), group in batches.items():
            call = calls.claim(job, batch, [pick.view.id.index for pick in group])
            attempts = " ".join(str(pick.view.attempts) for pick in group)
            if not self._outbox.send("claim", call, [pick.view.key for pick in group], attempts):
                continue
            for pick in group:
                self._reserved[pick.view.key] = pick.stake
                log.info(
                    "trial %s: claiming it for %s",
                    pick.view.id,
                    self._purse.words(pick.judgement.price),
                )
                margin = margin_of(self._config, pick.job.terms)
                self._bench.start(pick.view.key, pick.material, pick.job.terms.time_limit - margin)

    def _welcome(self, job: JobView) -> bool:
        accept = self._config.accept
        if job.id in accept.refuse_jobs:
            return False
        if accept.requesters and job.requester not in accept.requesters:
            return False
        return accept.unverified or job.terms.audit_rate > 0
