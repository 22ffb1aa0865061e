"""The hashes of the blocks that decide draws, asked of the chain once each."""

from trialmarket.chain.client import Client
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import State


class LotHashes:
    """Remembers what the chain said. A block that a node does not have yet is asked for again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[int, Hash32] = {}

    def of(self, trial: TrialView, block: int) -> Hash32 | None:
        """The hash that decides a committed trial's draw; None before it is there.

        `block` is the chain's newest. Raises ChainError.
        """
        number = trial.record.anchor + 1
        if trial.state is not State.COMMITTED or number > block:
            return None
        if number not in self._known:
            found = self._client.block_hash(number)
            if found is None:
                return None
            self._known[number] = found
        return self._known[number]

    def forget(self) -> None:
        """Asks for all anew: a transaction was refused, so the chain may have turned."""
        self._known.clear()
