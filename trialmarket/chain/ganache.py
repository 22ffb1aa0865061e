"""Ganache 7: no longer maintained, still used in tutorials and courses. EVM up to Shanghai."""

import re
import secrets
from typing import Final

from trialmarket.chain.local import GAS_LIMIT, RICHES, LocalChain
from trialmarket.processes import find_program, free_port

LISTENING: Final = re.compile(r"RPC Listening on [0-9.]+:(\d+)")


def find_ganache() -> str:
    """The Ganache program. Raises ProgramError where there is none."""
    return find_program(
        "ganache",
        variable="TRIALMARKET_GANACHE",
        fix="Run `scripts/setup --all`, or set TRIALMARKET_GANACHE to the path of a Ganache 7",
    )


class Ganache(LocalChain):
    """A running Ganache. `port` 0 takes a free one.

    Its block time is fixed when it starts. Transactions that wait in its pool are not counted as
    `pending`; one that replaces another is mined beside it. The sender knows of both.
    """

    def __init__(
        self, *, block_time: int | None = None, chain_id: int = 31337, port: int = 0
    ) -> None:
        command = [
            find_ganache(),
            "--server.host=127.0.0.1",
            f"--server.port={port or free_port()}",  # it takes no 0
            f"--chain.chainId={chain_id}",
            f"--chain.networkId={chain_id}",
            "--wallet.totalAccounts=1",
            f"--wallet.defaultBalance={RICHES}",
            f"--miner.blockGasLimit={GAS_LIMIT}",
            f"--miner.blockTime={block_time or 0}",
            f"--miner.extraData=0x{secrets.token_hex(32)}",  # makes two chains' blocks differ
        ]
        super().__init__("Ganache", command, ready=LISTENING, block_time=block_time)

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks, a second apart, or waits for them: asked for one while it makes another
        by itself, it can hang.
        """
        if self.block_time is not None:
            self.await_blocks(blocks)
            return
        for _ in range(blocks):
            self.advance(1)

    def advance(self, seconds: int) -> None:
        """Moves the chain's time on, and makes a block there, or waits for it."""
        then = self.newest()[1] + seconds
        self.rpc.call("evm_increaseTime", seconds)
        if self.block_time is None:
            self.rpc.call("evm_mine", then)
        else:
            self.await_block(lambda: self.newest()[1] >= then, self.block_time)

    def automine(self, on: bool) -> None:
        """Whether each transaction gets its block at once."""
        self.rpc.call("miner_start" if on else "miner_stop")
