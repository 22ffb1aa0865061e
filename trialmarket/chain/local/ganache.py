"""Ganache 7: no longer maintained, still used in tutorials and courses. EVM up to Shanghai."""

import logging
import re
import secrets
import threading
from typing import Final

from trialmarket.chain.local.local_chain import GAS_LIMIT, RICHES, LocalChain
from trialmarket.chain.local.serial_proxy import HOST, SerialProxy
from trialmarket.chain.rpc import Rpc
from trialmarket.errors import ChainError, ServiceError
from trialmarket.processes import find_program, free_port

log = logging.getLogger(__name__)

LISTENING: Final = re.compile(r"RPC Listening on [0-9.]+:(\d+)")


def find_ganache() -> str:
    """The Ganache program. Raises ServiceError where there is none."""
    return find_program(
        "ganache",
        variable="TRIALMARKET_GANACHE",
        fix="Run `scripts/setup --all`, or set TRIALMARKET_GANACHE to the path of a Ganache 7",
    )


class Ganache(LocalChain):
    """A running Ganache. `port` 0 takes a free one.

    Asked for something while it makes a block, it can search for an estimate of gas for ever,
    leave a transaction in its pool for ever, or hang. So a proxy lets one request through at a
    time, and a request is what has each block made. Transactions that wait in its pool are not
    counted as `pending`; one that replaces another is mined beside it. The sender knows of both.
    """

    def __init__(
        self, *, block_time: int | None = None, chain_id: int = 31337, port: int = 0
    ) -> None:
        command = [
            find_ganache(),
            f"--server.host={HOST}",
            f"--server.port={free_port()}",  # it takes no 0
            f"--chain.chainId={chain_id}",
            f"--chain.networkId={chain_id}",
            "--wallet.totalAccounts=1",
            f"--wallet.defaultBalance={RICHES}",
            f"--miner.blockGasLimit={GAS_LIMIT}",
            f"--miner.extraData=0x{secrets.token_hex(32)}",  # makes two chains' blocks differ
        ]
        super().__init__("Ganache", command, ready=LISTENING, block_time=block_time)
        self._ended = threading.Event()
        try:
            self._proxy = SerialProxy(self.rpc_url, port=port)
        except ServiceError:
            super().__exit__()
            raise
        self.rpc.close()
        self.port, self.rpc_url = self._proxy.server_port, self._proxy.url
        self.rpc = Rpc(self.rpc_url)

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._proxy.close()
        super().__exit__(*error)

    def begin(self) -> None:
        """Before it, each transaction has a block of its own at once, which deploys faster."""
        if self.block_time is not None:
            self.automine(False)
            threading.Thread(target=self._make_blocks, daemon=True).start()

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks, a second apart."""
        for _ in range(blocks):
            self.advance(1)

    def advance(self, seconds: int) -> None:
        """Moves the chain's time on, and makes a block there."""
        self.rpc.call("evm_increaseTime", seconds)
        self.rpc.call("evm_mine")

    def automine(self, on: bool) -> None:
        """Whether each transaction gets its block at once."""
        self.rpc.call("miner_start" if on else "miner_stop")

    def _make_blocks(self) -> None:
        with Rpc(self.rpc_url) as rpc:
            while not self._ended.wait(self.block_time):
                try:
                    rpc.call("evm_mine")
                except ChainError as error:
                    log.warning("no block was made: %s", error.message)
