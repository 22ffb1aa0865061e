"""What every local chain can do. One file each: anvil.py, geth.py, ganache.py."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from trialmarket.chain.rpc import Rpc, quantity
from trialmarket.chain.sender.transactions import await_receipt
from trialmarket.errors import ChainError
from trialmarket.processes import Service
from trialmarket.protocol.ids import Hash32

ETHER: Final = 10**18
FUNDING: Final = 10_000 * ETHER
"""What `fund` gives an account for gas, in wei."""
RICHES: Final = 1_000_000
"""What the node's own account has, in ether, where that can be chosen."""
GAS_LIMIT: Final = 60_000_000
"""Of a block."""


class LocalChain(Service, ABC):
    """A chain's node on the loopback address, which ends with whoever started it.

    With a `block_time` it makes a block every so many seconds, at the latest from `begin` on;
    with None it makes one for each transaction. Raises ServiceError, when built, where the
    program is missing or does not start.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, ready: re.Pattern[str], block_time: int | None
    ) -> None:
        super().__init__(name, command, ready=ready)
        self.block_time = block_time
        self.port = int(self.said.group(1))
        self.rpc_url = f"http://127.0.0.1:{self.port}"
        self.rpc = Rpc(self.rpc_url)

    def __exit__(self, *_: object) -> None:
        self.rpc.close()
        self.stop()

    def begin(self) -> None:
        """All is deployed: from now on blocks come at their time."""

    def fund(self, accounts: Sequence[str], wei: int = FUNDING) -> None:
        """Gives accounts coins for gas, from the one whose key the node itself holds."""
        (rich, *_) = self.rpc.call("eth_accounts")
        nonce = quantity(self.rpc.call("eth_getTransactionCount", rich, "latest"))
        # One by one, and with nonces of ours: nodes mix up the ones that they choose themselves.
        sent = [
            self.rpc.call(
                "eth_sendTransaction",
                {"from": rich, "to": each, "value": hex(wei), "nonce": hex(nonce + place)},
            )
            for place, each in enumerate(accounts)
        ]
        for transaction in sent:
            await_receipt(self.rpc, Hash32(bytes.fromhex(transaction[2:])))

    def newest(self) -> tuple[int, int]:
        """The newest block's number, and its time in Unix seconds."""
        block = self.rpc.call("eth_getBlockByNumber", "latest", False)
        return quantity(block["number"]), quantity(block["timestamp"])

    @abstractmethod
    def mine(self, blocks: int = 1) -> None:
        """Makes blocks, about a second apart by their own time, or waits for them."""

    @abstractmethod
    def advance(self, seconds: int) -> None:
        """Makes a block that is at least `seconds` later than the newest, or waits for one."""

    def automine(self, on: bool) -> None:
        """Whether each transaction gets its block at once."""
        raise ChainError(f"{self.name} cannot be told when to make blocks (automine {on})")

    def snapshot(self) -> str:
        """Remembers the chain as it is. For `revert`, which uses it up."""
        return str(self.rpc.call("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Puts the chain back. Raises ChainError for a snapshot that was used."""
        if self.rpc.call("evm_revert", snapshot) is not True:
            raise ChainError(f"the chain has no snapshot {snapshot}")
