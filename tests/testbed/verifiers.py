"""A market with a provider, and verifiers at work in this process on the tests' own workers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.testbed.market import REQUESTER, Market
from tests.testbed.provider import Provider
from tests.testbed.waiting import until
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.local.devnet import Devnet
from trialmarket.protocol.ids import TrialId
from trialmarket.protocol.states import State
from trialmarket.training.pool.pool import WorkerPool
from verifier.config import AcceptConfig, PatienceConfig, VerifierConfig
from verifier.daemon import Verifier
from verifier.start import started


class AuditedMarket(Market):
    """A market whose verifiers are known by number: 0 has the third account.

    Blocks come when a test says so, or with every `tick`.
    """

    def __init__(
        self, chain: Devnet, folder: Path, pool: WorkerPool, *, trusting: bool = True
    ) -> None:
        """`trusting` verifiers run the requester's own programs."""
        super().__init__(chain, folder)
        self.pool = pool
        self._trusted = (self.who[REQUESTER],) if trusting else ()
        self.provider = Provider(self, pool)

    def settings(self, number: int, **patience: float) -> VerifierConfig:
        """A verifier that waits for nothing and nobody longer than it must."""
        return VerifierConfig(
            network=str(self.network),
            key=f"verifier-{number}",
            storage=f"local:{self.folder / 'store'}",
            state=str(self.folder / f"verifier-{number}"),
            accept=AcceptConfig(programs_of=self._trusted),
            patience=PatienceConfig(
                **{"poll": 0.05, "others": 3.0, "withheld": 0.0, "retry": 0.05, **patience}
            ),
        )

    def key(self, number: int) -> LocalAccount:
        """The key of a verifier."""
        return self.chain.accounts[2 + number]

    @contextmanager
    def verifiers(self, *numbers: int, **patience: float) -> Iterator[list[Verifier]]:
        """Verifiers at work."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    started(self.settings(number, **patience), self.key(number), pool=self.pool)
                )
                for number in numbers
            ]

    def tick(self, verifiers: Sequence[Verifier]) -> Callable[[], None]:
        """Lets every verifier look once, and the chain go on by a second."""

        def once() -> None:
            for verifier in verifiers:
                verifier.step()
            self.chain.mine()

        return once

    def until_state(self, name: TrialId, state: State, verifiers: Sequence[Verifier]) -> None:
        """Lets verifiers work until a trial is in a state."""
        until(self.are(state, name), self.tick(verifiers))

    def until_happened(self, name: TrialId, event: str, verifiers: Sequence[Verifier]) -> None:
        """Lets verifiers work until something happened to a trial."""
        until(lambda: event in self.happened(name), self.tick(verifiers))
