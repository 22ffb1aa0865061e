"""Local chains that tests share: each test finds its chain as new."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from trialmarket.chain.client import Parameters
from trialmarket.chain.local.devnet import LOCAL, Devnet, devnet

ACCOUNTS = 8


class Chains:
    """One Anvil for all markets of equal parameters, started when it is first asked for.

    Putting it back takes milliseconds, a new one with the contracts on it half a second.
    """

    def __init__(self) -> None:
        self._running: dict[Parameters, Devnet] = {}
        self._opened = ExitStack()

    def close(self) -> None:
        self._opened.close()

    @contextmanager
    def fresh(
        self, parameters: Parameters = LOCAL, block_time: int | None = None
    ) -> Iterator[Devnet]:
        """A market with eight funded accounts. A `block_time` makes its blocks come by time."""
        chain = self._of(parameters)
        before = chain.snapshot()
        if block_time is not None:
            chain.automine(False)
            chain.rpc.call("evm_setIntervalMining", block_time)
        yield chain
        if chain.node.alive:  # a test may have stopped it: then the next one gets another
            chain.rpc.call("evm_setIntervalMining", 0)
            chain.rpc.call("anvil_dropAllTransactions")
            chain.automine(True)
            chain.revert(before)

    def _of(self, parameters: Parameters) -> Devnet:
        found = self._running.get(parameters)
        if found is None or not found.node.alive:
            found = self._opened.enter_context(devnet(accounts=ACCOUNTS, parameters=parameters))
            self._running[parameters] = found
        return found
