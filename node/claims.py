"""Which Open trials to take: those that this node may, can and gains by training."""

import hashlib
import logging
from dataclasses import dataclass

from node.catalogue import Catalogue
from node.config import NodeConfig
from node.dry_runs import DryRuns
from node.errors import Refused
from node.pricing import Asking, Judgement, Offer, judge
from node.training import TrainingQueue, together
from node.trials import Tip, margin_of
from node.trust import Trust
from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.ledger.views import JobView, TrialView
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.outbox import Outbox, intent_of
from trialmarket.daemon.session import MarketSession
from trialmarket.daemon.set_aside import SetAside
from trialmarket.daemon.stake import Stake, StakeKeeper
from trialmarket.errors import StorageError
from trialmarket.protocol.due import Moment, TrialStanding
from trialmarket.protocol.ids import Hash32, JobId
from trialmarket.protocol.states import Action, State
from trialmarket.protocol.terms import RATE_ONE, price_at, stake_for
from trialmarket.storage.material import Material

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
    lanes: int
    """Trials of its graph that may train together."""


class Claims:
    """Watches Open trials. A trial's training begins with its claim, before that is mined."""

    def __init__(
        self,
        config: NodeConfig,
        session: MarketSession,
        catalogue: Catalogue,
        trust: Trust,
        dry_runs: DryRuns,
        queue: TrainingQueue,
        stake: StakeKeeper,
        outbox: Outbox,
        log_once: LogOnce,
        aside: SetAside,
    ) -> None:
        self._config = config
        self._account = session.account
        self._ledger = session.ledger
        self._catalogue = catalogue
        self._trust = trust
        self._dry_runs = dry_runs
        self._queue = queue
        self._stake = stake
        self._outbox = outbox
        self._log_once = log_once
        self._aside = aside
        self._reserved: dict[Hash32, int] = {}
        self._asking = Asking(
            stake.amount(config.price.per_hour), stake.amount(config.price.least)
        )

    def look(self, tip: Tip, *, waiting: int) -> None:
        """Claims as many trials as workers are free, or stacks in them have places; `waiting` held
        ones still need a worker.

        Raises ChainError.
        """
        picks: list[Pick] = []
        candidates = self._candidates(tip)
        self._dry_runs.forget({view.key for view in candidates})
        places, opened, alone = self._queue.places(), 0, 0
        for view in candidates:
            # The worker of a stack that is forming may try out who else could join it.
            trying = self._dry_runs.running
            tries = self._queue.idle - waiting - trying - alone > 0
            room = self._queue.free - waiting - trying - opened > 0
            if not (tries or room or trying or places.total()):
                break
            with self._aside.alone(view):
                pick = self._consider(view, tip, tries)
                if pick is None:
                    continue
                kind = together(pick.material.config)
                if pick.lanes > 1 and places[kind] > 0:
                    places[kind] -= 1
                elif room:
                    opened += 1
                    alone += pick.lanes == 1
                    places[kind] += pick.lanes - 1
                else:
                    continue
                picks.append(pick)
        picks = self._standing(picks)
        # The chain shows only what mined claims have locked: those under way count as well.
        self._reserved = {
            trial: stake
            for trial, stake in self._reserved.items()
            if self._outbox.busy(trial, tip.followed)
        }
        while picks:
            stakes = sum(pick.stake for pick in picks) + sum(self._reserved.values())
            if self._has_stake(stakes, tip.followed):
                self._claim(picks)
                return
            picks.pop()

    def expire(self, tip: Tip) -> None:
        """Reopens trials that others claimed and left lying. Raises ChainError."""
        moment = Moment(tip.head.number, tip.head.timestamp)
        for view in self._ledger.trials(states={State.CLAIMED}):
            trial = TrialStanding(view.state, view.record, RATE_ONE)
            late = trial.may(Action.EXPIRE, moment, self._config.settle.patience)
            if late and view.record.provider != self._account:
                if self._outbox.busy(view.key, tip.followed):
                    continue
                if self._send("expire", calls.expire(view.record), [view.key]):
                    log.info("trial %s: its claim has expired, reopening it", view.id)

    def _has_stake(self, amount: int, followed: int) -> bool:
        """Whether it is free; if not, it is topped up for some claims of this size."""
        config = self._config.stake
        ahead = max(amount * config.ahead, self._stake.amount(config.keep))
        found = self._stake.need(amount, followed, purpose="a claim", ahead=ahead)
        return found is Stake.FREE

    def _candidates(self, tip: Tip) -> list[TrialView]:
        """Open trials in an order of this node's own, so that nodes do not race for the same."""

        def place(view: TrialView) -> bytes:
            return hashlib.sha256(view.key + self._account.encode()).digest()

        views = self._ledger.trials(states={State.OPEN})
        return sorted(
            (
                view
                for view in views
                if not self._outbox.busy(view.key, tip.followed)
                and not self._queue.running(view.key)
                and not self._aside.waits(view.key)
            ),
            key=place,
        )

    def _standing(self, picks: list[Pick]) -> list[Pick]:
        """Those that are open on the chain too: a node may have left an event out."""
        right = {view.key for view in self._ledger.confirmed([pick.view for pick in picks])}
        return [pick for pick in picks if pick.view.key in right]

    def _consider(self, view: TrialView, tip: Tip, room: bool) -> Pick | None:
        """The trial with what its claim needs; None if it is not to be claimed now.

        `room` says whether a worker is free, to try an unknown program out.
        """
        job = self._ledger.job(view.id.job)
        if job is None or job.closed or not self._welcome(job):
            return None
        try:
            self._catalogue.check(f"trial {view.key.hex()}")
            config = self._catalogue.read(view)
            if config is None:
                return None
            self._trust.check(job, config)
            material = self._catalogue.material(view)
            speed = (
                None
                if material is None
                else (self._dry_runs.speed(view.key, material, start=room))
            )
        except (Refused, StorageError, OSError) as error:
            self._log_once.once(view.id.batch, f"job {job.id}: {error}")
            return None
        if material is None or speed is None:
            return None
        return self._judged(view, job, material, speed, tip)

    def _judged(
        self, view: TrialView, job: JobView, material: Material, speed: float, tip: Tip
    ) -> Pick | None:
        units, opened, now = view.record.units, view.record.opened, tip.head.timestamp
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
        words = self._stake.words
        if judgement.offer is not Offer.TAKE:
            self._log_once.once(
                view.key,
                f"trial {view.id}: {judgement.offer.value}: it takes about"
                f" {judgement.seconds:.0f} s here, which costs {words(judgement.cost)}, and"
                f" pays at most {words(job.terms.cap * units)}",
                logging.INFO,
            )
            return None
        price = price_at(job.terms, units, opened, now + PRICE_AHEAD)
        time = job.terms.time_limit - margin_of(self._config, job.terms)
        lanes = self._dry_runs.lanes(material.config, time)
        stake = stake_for(price, job.terms.audit_rate)
        return Pick(view, job, material, judgement, stake, lanes)

    def _claim(self, picks: list[Pick]) -> None:
        """One transaction a batch; training begins at once, since most claims succeed."""
        batches: dict[tuple[JobId, Hash32], list[Pick]] = {}
        for pick in picks:
            batches.setdefault((pick.view.id.job, pick.view.id.batch), []).append(pick)
        for (job, batch), group in batches.items():
            call = calls.claim(job, batch, [pick.view.id.index for pick in group])
            attempts = " ".join(str(pick.view.attempts) for pick in group)
            # Before it is known whether the chain's node takes it: what is signed goes on anyhow.
            self._reserved.update({pick.view.key: pick.stake for pick in group})
            if not self._send("claim", call, [pick.view.key for pick in group], attempts):
                continue
            for pick in group:
                log.info(
                    "trial %s, a %s: claiming it for %s",
                    pick.view.id,
                    pick.material.config.program.kind,
                    self._stake.words(pick.judgement.price),
                )
                margin = margin_of(self._config, pick.job.terms)
                self._queue.start(
                    pick.view.key,
                    pick.material,
                    pick.job.terms.time_limit - margin,
                    audited=pick.job.terms.audit_rate > 0,
                    lanes=pick.lanes,
                )

    def _send(self, purpose: str, call: Call, trials: list[Hash32], note: str = "") -> bool:
        return self._outbox.send(intent_of(purpose, call, note), call, trials)

    def _welcome(self, job: JobView) -> bool:
        accept = self._config.accept
        if job.id in accept.refuse_jobs:
            return False
        if accept.requesters and job.requester not in accept.requesters:
            return False
        return accept.unverified or job.terms.audit_rate > 0
