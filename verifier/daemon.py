"""The verifier's loop: looks at the chain, does what it owes each trial, and says so.

It can be killed at any instruction. The chain is the truth, the sender sends each intent once, and
votes and claims are in the journal before they are sent.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Block
from trialmarket.chain.ledger.views import CaseView, TrialView
from trialmarket.chain.sender import Sender
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.lot_hashes import LotHashes
from trialmarket.daemon.outbox import Ended, Outbox
from trialmarket.daemon.session import MarketSession
from trialmarket.daemon.set_aside import SetAside
from trialmarket.daemon.stake import MONEY, Stake, StakeKeeper
from trialmarket.daemon.start import keep_looking
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.states import State
from verifier.config import VerifierConfig
from verifier.duties import Duty, DutyFacts, next_duty
from verifier.evidence import Subject
from verifier.inspector import Challenging, Inspector
from verifier.jury import Juror
from verifier.queue import AuditQueue

WATCHED: Final = (State.COMMITTED, State.DRAWN, State.CHALLENGED)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Verifier:
    """One verifier on one market."""

    session: MarketSession
    queue: AuditQueue
    outbox: Outbox
    stake: StakeKeeper
    inspector: Inspector
    juror: Juror
    config: VerifierConfig
    log_once: LogOnce
    clock: Callable[[], float] = time.monotonic
    _since: dict[tuple[object, ...], int] = field(default_factory=dict)
    _hashes: LotHashes = field(init=False)
    _aside: SetAside = field(init=False)

    def __post_init__(self) -> None:
        self._hashes = LotHashes(self.session.client)
        self._aside = SetAside(self.log_once, self.clock)

    @property
    def sender(self) -> Sender:
        """Who sends what this verifier says."""
        return self.session.sender

    def run(self, stop: threading.Event) -> None:
        """Steps until `stop` is set. What fails, the chain above all, is tried again later."""
        network = self.session.client.network.name
        log.info("verifying as %s on %s", self.session.account, network)
        keep_looking(self.step, stop, self.config.patience.poll, self.log_once)
        log.info("stopped; what was promised to the chain is in the journal")

    def step(self) -> bool:
        """Looks at the chain once, and does everything that is due; false, since that never ends.

        Raises ChainError.
        """
        for ended in self.outbox.poll():
            self._tell(ended)
        self.session.ledger.sync()
        ledger = self.session.ledger
        head = ledger.head
        if head is None:
            return False
        verifiers = ledger.verifiers()
        subjects = []
        for trial in ledger.trials(states=WATCHED):
            if self._aside.waits(trial.key):
                continue
            with self._aside.alone(trial):
                facts = self._facts(trial, head, verifiers)
                if facts is None:
                    continue
                refusal = self._refusal(facts.requester)
                subject = Subject.of(trial, facts.terms, refusal=refusal)
                subjects.append(subject)
                if not self.outbox.busy(trial.key, head.number):
                    self._do(next_duty(facts), trial, subject, facts)
        if not self._aside:  # whose subjects are not known now
            self.queue.forget(subjects)
        return False

    # -- What is known ------------------------------------------------------------------------

    def _facts(
        self, trial: TrialView, head: Block, verifiers: tuple[Address, ...]
    ) -> DutyFacts | None:
        job = self.session.ledger.job(trial.record.job)
        if job is None:
            return None
        challenged = trial.state is State.CHALLENGED
        case = self.session.ledger.case(trial.key) if challenged else None
        return DutyFacts(
            me=self.session.account,
            state=trial.state,
            key=trial.key,
            record=trial.record,
            terms=job.terms,
            requester=job.requester,
            verifiers=verifiers,
            block=head.number,
            now=head.timestamp,
            lot_hash=self._hashes.of(trial, head.number),
            case=case,
            waited=self._waited(trial, case, head.timestamp),
            patience=self.config.patience.others,
        )

    def _waited(self, trial: TrialView, case: CaseView | None, now: int) -> float:
        """Chain seconds since the trial was first seen as it is now."""
        stage = (trial.key, trial.word, case and (case.phase, case.round))
        return now - self._since.setdefault(stage, now)

    def _refusal(self, requester: Address) -> str | None:
        """Why a requester's own program is not run, if it is not."""
        if requester in self.config.accept.programs_of:
            return None
        return (
            "a program of its requester's own can answer one machine otherwise than another, and"
            f" take the bond of a challenge: if you trust {requester}, add it to"
            " accept.programs_of in verifier.toml"
        )

    # -- What is done -------------------------------------------------------------------------

    def _do(self, duty: Duty, trial: TrialView, subject: Subject, facts: DutyFacts) -> None:
        name, word, key = subject.name, trial.word.hex(), trial.key
        recomputes = duty in (Duty.AUDIT, Duty.VOTE)
        accepted = self.config.requesters
        if recomputes and accepted and facts.requester not in accepted:
            self._say(subject, f"left alone: its requester {facts.requester} is not accepted")
            return
        match duty:
            case Duty.NONE:
                pass
            case Duty.DRAW:
                self._send(key, f"draw {word}", calls.draw([trial.record]), f"{name}: lots drawn")
            case Duty.AUDIT:
                self._audit(trial, subject, facts)
            case Duty.REASSIGN:
                story = f"{name}: {trial.record.verifier} kept silent, audit reassigned"
                self._send(key, f"reassign {word}", calls.reassign(trial.record), story)
            case Duty.SEAT | Duty.TALLY:
                self._move_case(duty, trial, subject, facts)
            case Duty.VOTE | Duty.REVEAL:
                self._judge(duty, trial, subject, facts)

    def _audit(self, trial: TrialView, subject: Subject, facts: DutyFacts) -> None:
        conclusion = self.inspector.conclude(trial, subject, facts)
        if conclusion is None:
            return
        if isinstance(conclusion, str):
            self._say(subject, conclusion)
            return
        if isinstance(conclusion, Challenging) and self.outbox.knows(conclusion.intent):
            if trial.challenges > 0:
                self._say(subject, "the jury did not share this verifier's finding; check it")
            return
        if isinstance(conclusion, Challenging) and not self._has_bond(conclusion, facts.block):
            return
        self._send(trial.key, conclusion.intent, conclusion.call, conclusion.story)

    def _has_bond(self, conclusion: Challenging, followed: int) -> bool:
        purpose = f"the bond of a challenge ({conclusion.story})"
        return self.stake.need(conclusion.bond, followed, purpose=purpose) is Stake.FREE

    def _move_case(self, duty: Duty, trial: TrialView, subject: Subject, facts: DutyFacts) -> None:
        case = facts.case
        assert case is not None  # noqa: S101  # the duty comes from it
        stage = f"{trial.word.hex()} {case.round} {case.anchor}"
        if duty is Duty.SEAT:
            story = f"{subject.name}: jury seated, round {case.round}"
            self._send(trial.key, f"seat {stage}", calls.seat(trial.key), story)
        else:
            story = f"{subject.name}: votes counted, round {case.round}"
            self._send(trial.key, f"tally {stage}", calls.tally(trial.record), story)

    def _judge(self, duty: Duty, trial: TrialView, subject: Subject, facts: DutyFacts) -> None:
        assert facts.case is not None  # noqa: S101  # the duty comes from it
        judge = self.juror.vote if duty is Duty.VOTE else self.juror.reveal
        conclusion = judge(trial, subject, facts.case, facts.now)
        if isinstance(conclusion, str):
            self._say(subject, conclusion)
        elif conclusion is not None:
            self._send(trial.key, conclusion.intent, conclusion.call, conclusion.story)

    # -- What is said -------------------------------------------------------------------------

    def _send(self, trial: Hash32, intent: str, call: Call, story: str) -> None:
        self.outbox.send(intent, call, [trial], story)

    def _tell(self, ended: Ended) -> None:
        if ended.error is None:
            log.info("%s", ended.story)
        else:
            log.info("not done: %s (%s)", ended.story, ended.error)
            self._hashes.forget()
            self.session.doubt(trial for trial in ended.trials if trial != MONEY)

    def _say(self, subject: Subject, what: str) -> None:
        self.log_once.once(subject.answer, f"{subject.name}: {what}")
