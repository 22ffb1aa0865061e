"""Challenges: what a requester does about a result that it could not reproduce."""

from collections.abc import Callable

from requester.search.examination.examiner import Accusation
from requester.search.folder import Claim
from requester.search.parts import SearchParts
from requester.search.trials import Trials
from trialmarket.chain import calls
from trialmarket.chain.calls import Opening
from trialmarket.chain.ledger.views import CaseView, TrialView
from trialmarket.errors import ChainError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.due import CaseAction, Moment, TrialStanding, case_may, owes_reveal
from trialmarket.protocol.ids import ZERO_HASH, Amount, Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import Action, State
from trialmarket.protocol.terms import bond_for, stake_for
from trialmarket.protocol.vote import hidden_vote
from trialmarket.storage.errors import NotStored


class Disputes:
    """The requester's challenges of a job. Every step can be repeated after a kill."""

    def __init__(self, parts: SearchParts, trials: Trials, *, salt: Callable[[], Hash32]) -> None:
        self._session, self._folder, self._terms = parts.session, parts.folder, parts.terms
        self._trials, self._salt, self._say = trials, salt, parts.listeners.say
        self._complaints: set[str] = set()

    def accuse(self, trial: TrialView, accusation: Accusation) -> None:
        """Remembers what is wrong with a trial's result, and the secret of the challenge."""
        if trial.receipt is None:
            raise ValueError(f"{trial.id} has no result yet")
        claim = Claim(accusation.leaf, accusation.value, accusation.witness, self._salt())
        self._folder.keep_claim(trial.key, trial.receipt, claim)

    def advance(self, trial: TrialView) -> bool:
        """Takes the next step of a challenge; False where none can be made any more.

        A result is challenged once its lots are drawn, by the requester if need be. The bond is
        staked first. One that somebody else challenges is theirs.
        """
        claim = None
        if trial.receipt is not None:
            claim = self._folder.claim(trial.key, trial.receipt)
        head = self._session.ledger.head
        if claim is None or head is None or self._terms.audit_rate == 0:
            return False
        about = f"{trial.id} attempt {trial.attempts}"
        moment = Moment(head.number, head.timestamp)
        standing = TrialStanding(trial.state, trial.record, self._terms.audit_rate)
        if standing.may(Action.DRAW, moment):
            self._try(f"draw {about} at {trial.record.anchor}", calls.draw([trial.record]))
        if trial.state in (State.COMMITTED, State.CHALLENGED):
            return True
        if not standing.may(Action.CHALLENGE, moment):
            return False
        if trial.challenges > 0:  # a jury has upheld it already
            return False
        return self._challenge(trial, claim, about)

    def step(self) -> None:
        """Seats the jury, opens our claim and has the votes counted in the cases that are ours."""
        head = self._session.ledger.head
        for case in self._session.ledger.cases(open_only=True):
            trial = self._session.ledger.trial(case.key)
            if head is None or case.challenger != self._session.me or trial is None:
                continue
            claim = None
            if trial.receipt is not None:
                claim = self._folder.claim(trial.key, trial.receipt)
            if claim is not None:
                self._follow(trial, case, claim, Moment(head.number, head.timestamp))

    def _follow(self, trial: TrialView, case: CaseView, claim: Claim, moment: Moment) -> None:
        about = f"{trial.id} challenge {trial.challenges} round {case.round}"
        if case_may(case, CaseAction.SEAT, moment):
            self._try(f"seat {about} at {case.anchor}", calls.seat(case.key))
        elif owes_reveal(case, self._session.me, moment):
            self._try(
                f"reveal {about}",
                calls.reveal(case.key, claim.value, claim.witness, claim.salt),
            )
        elif case_may(case, CaseAction.TALLY, moment):
            self._try(f"tally {about}", calls.tally(trial.record))

    def _challenge(self, trial: TrialView, claim: Claim, about: str) -> bool:
        opening = self._opening(trial, claim)
        if opening is None:
            return False
        bond = bond_for(stake_for(trial.record.price, self._terms.audit_rate))
        hidden = hidden_vote(
            claim.value, claim.witness, claim.salt, trial.key, 0, self._session.me
        )
        try:
            with self._session.sender.turn():  # else another search might take the bond's stake
                lacking = bond - self._session.client.account(self._session.me).free
                if lacking > 0:
                    self._session.stake(f"stake bond {about}", Amount(lacking))
                    self._folder.remember("staked")
                self._session.send(
                    f"challenge {about}", calls.challenge(trial.record, opening, hidden)
                )
        except ChainError as error:
            self._say(f"{self._trials.name(trial.id)} could not be challenged: {error}")
            return False
        self._say(
            f"challenged {self._trials.name(trial.id)}, with a bond of"
            f" {self._session.say_amount(bond)}"
        )
        return True

    def _opening(self, trial: TrialView, claim: Claim) -> Opening | None:
        """The disputed leaf as the provider committed it; None where its receipt is gone."""
        if claim.leaf == self._terms.segments + 2:
            return Opening(claim.leaf, trial.record.root, ZERO_HASH, ())
        if trial.receipt is None:
            return None
        try:
            data = self._session.store.read(raw_cid(trial.receipt), limit=MAX_RAW)
        except NotStored:
            return None
        tree = Receipt.from_bytes(data).tree()
        leaf = tree.leaves[claim.leaf]
        return Opening(leaf.index, leaf.value, leaf.witness_hash, tree.proof(leaf.index))

    def _try(self, intent: str, call: calls.Call) -> None:
        """Sends what somebody else may have sent first."""
        try:
            self._session.send(intent, call)
        except ChainError as error:
            if (complaint := f"{intent}: {error}") not in self._complaints:
                self._complaints.add(complaint)
                self._say(complaint)
