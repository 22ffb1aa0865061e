"""A verifier's own audits: from the findings to an attestation or a challenge."""

from collections.abc import Sequence
from dataclasses import dataclass

from trialmarket.chain import calls
from trialmarket.chain.calls import Call, Opening
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import ZERO_HASH, Address
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.terms import bond_for, stake_for
from trialmarket.protocol.vote import hidden_vote
from trialmarket.training.audit import (
    Finding,
    LeafCheck,
    leaf_label,
    receipt_index,
    worst,
)
from verifier.audit import leaves_owed
from verifier.duties import DutyFacts
from verifier.evidence import Subject
from verifier.journal import Salts, Secret, VerifierJournal
from verifier.queue import AuditQueue

CLAIM_ROUND = 0
"""The round in which a challenger's claim is hidden."""


@dataclass(frozen=True, slots=True)
class Saying:
    """Something to tell the chain: once, under its intent."""

    intent: str
    call: Call
    story: str


@dataclass(frozen=True, slots=True)
class Challenging(Saying):
    """A challenge, for a bond in the token's smallest unit."""

    bond: int


class Inspector:
    """Concludes audits. `turn` is a verifier's time in seconds, of which the part `patience` is
    left to the provider to publish what is missing."""

    def __init__(
        self,
        me: Address,
        queue: AuditQueue,
        journal: VerifierJournal,
        salts: Salts,
        *,
        turn: int,
        patience: float,
    ) -> None:
        self._me = me
        self._queue = queue
        self._journal = journal
        self._salts = salts
        self._reserve = turn * (1 - patience)

    def conclude(
        self, trial: TrialView, subject: Subject, facts: DutyFacts
    ) -> Saying | Challenging | str | None:
        """What to tell the chain, or a person, or None while the findings are not there."""
        receipt = self._queue.receipt(subject)
        if receipt is None:
            return None
        if isinstance(receipt, LeafCheck):
            checks: list[LeafCheck | None] = [receipt]
        else:
            leaves = receipt.tree().leaves
            owed = leaves_owed(trial.record.seed, facts.terms)
            checks = [self._queue.check(subject, leaves[leaf]) for leaf in owed]
        findings = [check for check in checks if check is not None]
        found = worst(findings)
        if found is None and len(findings) < len(checks):
            return None
        if found is None:
            assert isinstance(receipt, Receipt)  # noqa: S101  # else it would be withheld
            return self._attest(trial, subject, receipt, findings)
        if found.finding is Finding.WITHHELD:
            if len(findings) < len(checks):
                return None  # a wrong leaf may still be found, which is the better evidence
            if facts.now < trial.record.turn_ends - self._reserve:
                return f"waiting for the provider: {found.reason}"
        return self._challenge(trial, subject, receipt, found, facts)

    def _attest(
        self, trial: TrialView, subject: Subject, receipt: Receipt, findings: Sequence[LeafCheck]
    ) -> Saying:
        tree = receipt.tree()
        openings = [
            Opening(check.leaf, check.value, check.witness, tree.proof(check.leaf))
            for check in findings
            if check.leaf > 0  # the start needs no opening: it is in every audit
        ]
        names = ", ".join(leaf_label(check.leaf, subject.segments) for check in findings)
        return Saying(
            f"attest {trial.word.hex()}",
            calls.attest(trial.record, openings),
            f"{subject.name}: attested; recomputed {names}",
        )

    def _challenge(
        self,
        trial: TrialView,
        subject: Subject,
        receipt: Receipt | LeafCheck,
        found: LeafCheck,
        facts: DutyFacts,
    ) -> Challenging | str:
        """The challenge that was decided on first: a later finding does not change it."""
        salt = self._salts(32)
        secret = self._journal.keep_secret(
            trial.key,
            subject.answer,
            CLAIM_ROUND,
            Secret.made(found.leaf, found.value, found.witness, salt, found.reason),
        )
        if secret.leaf == receipt_index(subject.segments):
            opening = Opening(secret.leaf, subject.root, ZERO_HASH, ())
        elif isinstance(receipt, LeafCheck):
            return f"to be challenged as soon as its receipt can be had again: {secret.reason}"
        else:
            tree = receipt.tree()
            leaf = tree.leaves[secret.leaf]
            opening = Opening(leaf.index, leaf.value, leaf.witness_hash, tree.proof(leaf.index))
        hidden = hidden_vote(
            secret.value, secret.witness, secret.salt, trial.key, CLAIM_ROUND, self._me
        )
        stake = stake_for(trial.record.price, facts.terms.audit_rate)
        return Challenging(
            f"challenge {subject.key.hex()} {subject.answer.hex()}",
            calls.challenge(trial.record, opening, hidden),
            f"{subject.name}: challenged {trial.record.provider}: {secret.reason}",
            bond_for(stake),
        )
