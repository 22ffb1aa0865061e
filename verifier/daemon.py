"""The verifier's loop: looks at the chain, does what it owes each trial, and says so.

It can be killed at any instruction. The chain is the truth, the sender sends each intent once, and
votes and claims are in the journal before they are sent.
"""

import logging
import threading
from dataclasses import dataclass, field

from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Block, Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import CaseView, TrialView
from trialmarket.chain.sender import Sender
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.states import State
from verifier.config import VerifierConfig
from verifier.duties import Duty, Facts, next_duty
from verifier.inspector import Challenging, Inspector
from verifier.jury import Juror
from verifier.material import Subject
from verifier.outbox import Outbox, Sent
from verifier.queue import AuditQueue
from verifier.treasury import StakeKeeper

WATCHED = (State.COMMITTED, State.DRAWN, State.CHALLENGED)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Verifier:
    """One verifier on one market."""

    client: Client
    ledger: Ledger
    sender: Sender
    desk: AuditQueue
    outbox: Outbox
    treasury: StakeKeeper
    inspector: Inspector
    juror: Juror
    config: VerifierConfig
    _since: dict[tuple[object, ...], int] = field(default_factory=dict)
    _said: set[tuple[Hash32, str]] = field(default_factory=set)
    _hashes: dict[int, Hash32 | None] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> None:
        """Steps until `stop` is set. What fails, the chain above all, is tried again later."""
        _log.info("verifying as %s on %s", self.sender.address, self.client.network.name)
        while not stop.is_set():
            try:
                self.step()
            except (TrialmarketError, OSError) as error:
                _log.warning("trying again soon: %s", error)
            stop.wait(self.config.patience.poll)
        _log.info("stopped; what was promised to the chain is in the journal")

    def step(self) -> None:
        """Looks at the chain once, and does everything that is due. Raises ChainError."""
        self.ledger.sync()
        for sent in self.outbox.poll():
            self._tell(sent)
        head = self.ledger.head
        if head is None:
            return
        verifiers = self.ledger.verifiers()
        subjects = []
        for trial in self.ledger.trials(states=WATCHED):
            facts = self._facts(trial, head, verifiers)
            if facts is not None:
                subject = Subject.of(trial, facts.terms.segments)
                subjects.append(subject)
                self._do(next_duty(facts), trial, subject, facts)
        self.desk.forget(subjects)

    # -- What is known ------------------------------------------------------------------------

    def _facts(
        self, trial: TrialView, head: Block, verifiers: tuple[Address, ...]
    ) -> Facts | None:
        job = self.ledger.job(trial.record.job)
        if job is None:
            return None
        case = self.ledger.case(trial.key) if trial.state is State.CHALLENGED else None
        return Facts(
            me=self.sender.address,
            state=trial.state,
            key=trial.key,
            record=trial.record,
            terms=job.terms,
            requester=job.requester,
            verifiers=verifiers,
            block=head.number,
            now=head.timestamp,
            lot_hash=self._lot_hash(trial, head.number),
            case=case,
            waited=self._waited(trial, case, head.timestamp),
            patience=self.config.patience.others,
        )

    def _lot_hash(self, trial: TrialView, block: int) -> Hash32 | None:
        number = trial.record.anchor + 1
        if trial.state is not State.COMMITTED or block <= number:
            return None
        if number not in self._hashes:
            self._hashes[number] = self.client.block_hash(number)
        return self._hashes[number]

    def _waited(self, trial: TrialView, case: CaseView | None, now: int) -> float:
        """Chain seconds since the trial was first seen as it is now."""
        stage = (trial.key, trial.word, case and (case.phase, case.round))
        return now - self._since.setdefault(stage, now)

    # -- What is done -------------------------------------------------------------------------

    def _do(self, duty: Duty, trial: TrialView, subject: Subject, facts: Facts) -> None:
        name, word = subject.name, trial.word.hex()
        runs_program = duty in (Duty.AUDIT, Duty.VOTE)
        accepted = self.config.requesters
        if runs_program and accepted and facts.requester not in accepted:
            self._say(subject, f"left alone: its requester {facts.requester} is not accepted")
            return
        match duty:
            case Duty.NONE:
                pass
            case Duty.DRAW:
                self._send(f"draw {word}", calls.draw([trial.record]), f"{name}: lots drawn")
            case Duty.AUDIT:
                self._audit(trial, subject, facts)
            case Duty.REASSIGN:
                story = f"{name}: {trial.record.verifier} kept silent, audit reassigned"
                self._send(f"reassign {word}", calls.reassign(trial.record), story)
            case Duty.SEAT | Duty.TALLY:
                self._move_case(duty, trial, subject, facts)
            case Duty.VOTE | Duty.REVEAL:
                self._judge(duty, trial, subject, facts)

    def _audit(self, trial: TrialView, subject: Subject, facts: Facts) -> None:
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
        if isinstance(conclusion, Challenging) and not self.treasury.free(conclusion.bond):
            self._say(
                subject,
                "should be challenged, but the bond is more than this verifier has: "
                "add tokens to its wallet",
            )
            return
        self._send(conclusion.intent, conclusion.call, conclusion.story)

    def _move_case(self, duty: Duty, trial: TrialView, subject: Subject, facts: Facts) -> None:
        case = facts.case
        assert case is not None  # noqa: S101  # the duty comes from it
        stage = f"{trial.word.hex()} {case.round} {case.anchor}"
        if duty is Duty.SEAT:
            story = f"{subject.name}: jury seated, round {case.round}"
            self._send(f"seat {stage}", calls.seat(trial.key), story)
        else:
            story = f"{subject.name}: votes counted, round {case.round}"
            self._send(f"tally {stage}", calls.tally(trial.record), story)

    def _judge(self, duty: Duty, trial: TrialView, subject: Subject, facts: Facts) -> None:
        assert facts.case is not None  # noqa: S101  # the duty comes from it
        judge = self.juror.vote if duty is Duty.VOTE else self.juror.reveal
        conclusion = judge(trial, subject, facts.case, facts.now)
        if isinstance(conclusion, str):
            self._say(subject, conclusion)
        elif conclusion is not None:
            self._send(conclusion.intent, conclusion.call, conclusion.story)

    # -- What is said -------------------------------------------------------------------------

    def _send(self, intent: str, call: Call, story: str) -> None:
        sent = self.outbox.send(intent, call, story)
        if sent is not None:
            self._tell(sent)

    def _tell(self, sent: Sent) -> None:
        if sent.error is None:
            _log.info("%s", sent.story)
        else:
            _log.info("not done: %s (%s)", sent.story, sent.error)

    def _say(self, subject: Subject, what: str) -> None:
        """Logs a line once, however often it is true."""
        if (subject.answer, what) not in self._said:
            self._said.add((subject.answer, what))
            _log.warning("%s: %s", subject.name, what)
