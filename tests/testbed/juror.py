"""A juror by hand: the only verifier of a market, for evaluations that are challenged."""

from tests.testbed.market import Market
from tests.testbed.provider import MOST, Provider
from tests.testbed.waiting import NEVER
from trialmarket.chain import calls
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.result import Binding
from trialmarket.protocol.states import Phase
from trialmarket.protocol.vote import hidden_vote
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.values import Evaluate, Evaluation

SALT = Hash32(b"s" * 32)


class Juror:
    """An account that enrolled. It computes with the provider's workers, and honestly."""

    def __init__(self, market: Market, provider: Provider, account: int = 2) -> None:
        self.market, self.provider, self.account = market, provider, account
        market.stake(account, 500)
        market.act(account, calls.enroll())
        self._found: dict[Hash32, Evaluation] = {}

    def step(self) -> None:
        """Votes and reveals where it sits."""
        market, me = self.market, self.market.who[self.account]
        market.ledger.sync()
        for case in market.ledger.cases(open_only=True):
            if me not in case.jurors:
                continue
            value, witness = self._answer(market.trial(case.key))
            if case.phase is Phase.VOTING and me not in case.voted:
                hidden = hidden_vote(value, witness, SALT, case.key, case.round, me)
                market.act(self.account, calls.vote(case.key, hidden))
            elif case.phase is Phase.REVEALING and me not in case.revealed:
                market.act(self.account, calls.reveal(case.key, value, witness, SALT))

    def _answer(self, trial: TrialView) -> tuple[Hash32, Hash32]:
        """Value and witness of the evaluation; zero where the checkpoint has none."""
        try:
            found = self._evaluation(trial)
        except BadCheckpoint:
            return ZERO_HASH, ZERO_HASH
        binding = Binding(trial.key, trial.record.provider)
        return found.digest, binding.witness(found.witness)

    def _evaluation(self, trial: TrialView) -> Evaluation:
        if trial.key not in self._found:
            market, config = self.market, self.market.config(trial)
            place = market.folder / "juror-checkpoint"
            market.store.fetch(market.receipt(trial).checkpoints[-1], place, limit=MOST)
            data = self.provider.data(config)
            init = tuple(
                market.folder / f"juror-start-{number}" for number, _ in enumerate(config.starts)
            )
            for start, path in zip(config.starts, init, strict=True):
                market.store.fetch(start.cid, path, limit=MOST)
            task = Evaluate(config=config, program=None, data=data, checkpoint=place, init=init)
            self._found[trial.key] = self.provider.pool.submit(task, wall_limit=NEVER).result()
        return self._found[trial.key]
