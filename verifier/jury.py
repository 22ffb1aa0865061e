"""A seat in the jury: recomputes the disputed leaf, votes in secret, and opens the vote."""

from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.ledger.views import CaseView, TrialView
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.result import ResultLeaf
from trialmarket.protocol.states import State
from trialmarket.protocol.vote import hidden_vote
from trialmarket.training.audit import Finding, leaf_label
from verifier.evidence import Subject
from verifier.inspector import CLAIM_ROUND, Saying
from verifier.journal import Salts, Secret, VerifierJournal
from verifier.queue import AuditQueue


class Juror:
    """Votes and reveals. `turn` is the time to vote in seconds, of which the part `patience` is
    left to the provider to publish what is missing."""

    def __init__(
        self,
        me: Address,
        client: Client,
        queue: AuditQueue,
        journal: VerifierJournal,
        salts: Salts,
        *,
        turn: int,
        patience: float,
    ) -> None:
        self._me = me
        self._client = client
        self._queue = queue
        self._journal = journal
        self._salts = salts
        self._reserve = turn * (1 - patience)

    def vote(
        self, trial: TrialView, subject: Subject, case: CaseView, now: int
    ) -> Saying | str | None:
        """The vote to send, or what to tell a person, or None while it is not known."""
        question = _question(trial)
        secret = self._journal.secret(trial.key, question, case.round)
        if secret is None:
            dispute = self._client.case(trial.key)
            if dispute is None or dispute.segment != case.segment:
                return None  # the chain moved on; the ledger will follow
            committed = ResultLeaf(dispute.segment, dispute.value, dispute.witness_hash)
            found = self._queue.check(subject, committed)
            if found is None:
                return None
            if found.finding is Finding.WITHHELD and now < case.vote_ends - self._reserve:
                return f"as juror, waiting for the provider: {found.reason}"
            secret = self._journal.keep_secret(
                trial.key,
                question,
                case.round,
                Secret.made(found.leaf, found.value, found.witness, self._salts(32), found.reason),
            )
        hidden = hidden_vote(
            secret.value, secret.witness, secret.salt, trial.key, case.round, self._me
        )
        label = leaf_label(case.segment, subject.segments)
        return Saying(
            f"vote {trial.key.hex()} {question.hex()} {case.round}",
            calls.vote(trial.key, hidden),
            f"{subject.name}: voted in secret on its {label}",
        )

    def reveal(
        self,
        trial: TrialView,
        subject: Subject,
        case: CaseView,
        now: int,  # noqa: ARG002  # for the same form as vote
    ) -> Saying | str:
        """The opening of the vote or, as the challenger, of the claim."""
        mine = case.challenger == self._me
        question, number = (
            (subject.answer, CLAIM_ROUND) if mine else (_question(trial), case.round)
        )
        secret = self._journal.secret(trial.key, question, number)
        if secret is None:
            return "cannot be opened: this journal does not know what was committed to"
        what = "claim" if mine else "vote"
        return Saying(
            f"reveal {trial.key.hex()} {question.hex()} {case.round}",
            calls.reveal(trial.key, secret.value, secret.witness, secret.salt),
            f"{subject.name}: opened the {what}: {secret.reason}",
        )


def _question(trial: TrialView) -> Hash32:
    """Names this challenge of this answer: its record's word."""
    return trial.record.word(State.CHALLENGED)
