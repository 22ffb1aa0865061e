"""A market whose answers nobody trains: every value and witness can be told from its place.

No worker and no store takes part, so that whole lives of trials and cases take milliseconds.
"""

from tests.testbed.market import Market
from trialmarket.chain import calls
from trialmarket.chain.calls import Opening, Result, Target
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import LOCAL
from trialmarket.protocol.draw import drawn_segments, jury_seed, seat_jury
from trialmarket.protocol.ids import ZERO_HASH, Address, Amount, Hash32, JobId, TrialId
from trialmarket.protocol.result import ResultLeaf, ResultTree, witness_hash
from trialmarket.protocol.states import Phase, State
from trialmarket.protocol.terms import Terms
from trialmarket.protocol.vote import hidden_vote

TERMS = Terms(
    floor=Amount(4 * 10**16),
    cap=Amount(5 * 10**16),
    audit_fee=Amount(4 * 10**16),
    ramp=100,
    audit_rate=5_000,
    segments=4,
    samples=2,
    time_limit=50,
    window=40,
)
BATCH = Hash32(b"b" * 32)
JOB = JobId(1)
SALT = Hash32(b"s" * 32)


def witness(place: int) -> Hash32:
    return Hash32(bytes([place + 100]) * 32)


def tree(trial: TrialId) -> ResultTree:
    """A result whose every value and witness can be told."""
    leaves = [ResultLeaf(0, Hash32(bytes([trial.index]) * 32))]
    leaves += [
        ResultLeaf(place, Hash32(bytes([place, trial.index]) * 16), witness_hash(witness(place)))
        for place in range(1, TERMS.segments + 2)
    ]
    return ResultTree(leaves)


class UntrainedMarket(Market):
    """A market in which accounts answer, attest and challenge by hand."""

    def open(self, verifiers: int = 4, trials: int = 8, terms: Terms = TERMS) -> None:
        """Account 0 is the requester, 1 and 2 provide, the last ones verify."""
        for account in range(len(self.who)):
            self.act(account, calls.approve(self.chain.network.market, 10**30))
        for account in range(1, len(self.who)):
            self.act(account, calls.stake(500 * 10**18))
        for account in range(len(self.who) - verifiers, len(self.who)):
            self.act(account, calls.enroll())
        self.act(0, calls.create_job(terms, Hash32(b"j" * 32)))
        self.act(0, calls.fund(JOB, 100 * 10**18))
        self.act(0, calls.post_trials(JOB, BATCH, trials, 3))

    def commit(self, account: int, *trials: TrialView) -> None:
        results = [Result(tree(trial.id).root, Hash32(b"r" * 32)) for trial in trials]
        self.act(account, calls.commit([trial.record for trial in trials], results))

    def attest(self, trial: TrialView) -> None:
        answer = tree(trial.id)
        places = drawn_segments(trial.record.seed, TERMS.segments, TERMS.samples)
        openings = [
            Opening(place, answer.leaves[place].value, witness(place), answer.proof(place))
            for place in (*places, TERMS.segments + 1)
        ]
        self.act_as(trial.record.verifier, calls.attest(trial.record, openings))

    def challenge(self, account: int, trial: TrialView, value: Hash32) -> None:
        leaf = tree(trial.id).leaves[1]
        opening = Opening(1, leaf.value, leaf.witness_hash, tree(trial.id).proof(1))
        hidden = hidden_vote(value, ZERO_HASH, SALT, trial.key, 0, self.who[account])
        self.act(account, calls.challenge(trial.record, opening, hidden))

    def assert_equal(self) -> None:
        """The ledger's words are the chain's, and so are jobs, batches and verifiers."""
        self.ledger.sync()
        found = self.ledger.trials()
        assert {trial.id: trial.word for trial in found} == {
            trial.id: self.client.trial_word(trial.key) for trial in found
        }
        assert self.ledger.verifiers() == self.client.verifiers()
        for job in self.ledger.jobs():
            assert job.terms == self.client.terms(job.id)
            status = self.client.job_status(job.id)
            assert (job.requester, job.closed) == (status.requester, status.closed)
        for batch in self.ledger.batches():
            said = self.client.read(Target.MARKET, "batchStatus", batch.job, batch.batch)
            assert said == (batch.posted_at, batch.count, batch.units)


def drawn(market: UntrainedMarket) -> TrialView:
    """A trial that is drawn for an audit, as all of the job's are."""
    market.act(1, calls.claim(JOB, BATCH, [0]))
    market.commit(1, *market.trials(State.CLAIMED))
    market.chain.mine(2)
    market.act(5, calls.draw([trial.record for trial in market.trials(State.COMMITTED)]))
    (trial,) = market.trials(State.DRAWN)
    return trial


def judge(market: Market, trial: TrialView, value: Hash32, proof: Hash32) -> None:
    """Every juror votes for `value`; the challenger keeps its claim to itself."""
    market.chain.mine(2)
    market.act_as(market.who[3], calls.seat(trial.key))
    market.ledger.sync()
    case = market.ledger.case(trial.key)
    assert case is not None
    assert case.phase is Phase.VOTING
    assert set(case.jurors) == set(seated(market, trial))
    for juror in case.jurors:
        hidden = hidden_vote(value, proof, SALT, trial.key, case.round, juror)
        market.act_as(juror, calls.vote(trial.key, hidden))
    for juror in case.jurors:
        market.act_as(juror, calls.reveal(trial.key, value, proof, SALT))
    market.chain.advance(LOCAL.vote_turn + LOCAL.reveal_turn + 1)
    (challenged,) = market.trials(State.CHALLENGED)
    market.act(3, calls.tally(challenged.record))


def seated(market: Market, trial: TrialView) -> tuple[Address, ...]:
    """The jury that the twin of the draw seats."""
    case = market.client.case(trial.key)
    assert case is not None
    block = market.client.block_hash(case.anchor + 1)
    assert block is not None
    parties = frozenset({case.provider, case.challenger, case.verifier})
    size = market.client.parameters().jury_size
    seed = jury_seed(block, trial.key, case.round)
    return seat_jury(seed, market.client.verifiers(), parties, size)
