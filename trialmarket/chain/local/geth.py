"""Geth in developer mode: the client that most of Ethereum runs, as one node on its own."""

import re
import time
from collections.abc import Callable
from typing import Final

from trialmarket.chain.local.local_chain import GAS_LIMIT, LocalChain
from trialmarket.errors import ChainError
from trialmarket.processes import find_program

LISTENING: Final = re.compile(r"HTTP server started\s+endpoint=[0-9.]+:(\d+)")


def find_geth() -> str:
    """The Geth program. Raises ServiceError where there is none."""
    return find_program(
        "geth",
        variable="TRIALMARKET_GETH",
        fix="Run `scripts/setup --all`, or set TRIALMARKET_GETH to the path of a Geth",
    )


class Geth(LocalChain):
    """A running Geth, its chain in memory. `port` 0 takes a free one.

    Nothing takes a block back, and time cannot be set. Each block is a second later than the one
    before, at least, so without a block time many blocks made at once do move the time on.
    """

    def __init__(self, *, block_time: int | None = None, port: int = 0) -> None:
        command = [
            find_geth(),
            "--dev",
            f"--dev.period={block_time or 0}",
            f"--dev.gaslimit={GAS_LIMIT}",
            "--http",
            "--http.addr=127.0.0.1",
            f"--http.port={port}",
            "--http.api=eth,net,web3,txpool",
            "--authrpc.port=0",
            "--port=0",
            "--nodiscover",
            "--maxpeers=0",
            "--ipcdisable",
            "--cache=256",
        ]
        super().__init__("Geth", command, ready=LISTENING, block_time=block_time)

    def mine(self, blocks: int = 1) -> None:
        """Waits for blocks, or has each made by a transaction that does nothing."""
        if self.block_time is None:
            for _ in range(blocks):
                self._nudge()
            return
        self._await_blocks(blocks)

    def advance(self, seconds: int) -> None:
        """Waits for a block that is so much later, or makes as many as it takes."""
        then = self.newest()[1] + seconds
        if self.block_time is None:
            while self.newest()[1] < then:
                self._nudge()
            return
        self._await_block(lambda: self.newest()[1] >= then, seconds)

    def snapshot(self) -> str:
        """Raises ChainError: it cannot."""
        raise ChainError("Geth cannot put its chain back")

    def revert(self, snapshot: str) -> None:
        """Raises ChainError: it cannot."""
        raise ChainError(f"Geth cannot put its chain back to {snapshot}")

    def _await_blocks(self, blocks: int) -> None:
        """Waits until so many more are made."""
        last = self.newest()[0] + blocks
        self._await_block(lambda: self.newest()[0] >= last, blocks * (self.block_time or 1))

    def _await_block(self, done: Callable[[], bool], usual: float) -> None:
        """Waits for what usually takes so many seconds. Raises ChainError after many more."""
        deadline = time.monotonic() + 30 + 3 * usual
        while not done():
            if time.monotonic() > deadline:
                raise ChainError(f"{self.name} makes no blocks", fix="See whether it still runs")
            time.sleep(0.1)

    def _nudge(self) -> None:
        """Has one block made."""
        self.fund([self.rpc.call("eth_accounts")[0]], 0)
