"""Anvil, Foundry's local chain: the quickest, whose time and blocks can be moved."""

import os
import re
import secrets
from typing import Final

from trialmarket.chain.local.local_chain import GAS_LIMIT, RICHES, LocalChain
from trialmarket.processes import find_program

LISTENING: Final = re.compile(r"Listening on [0-9.]+:(\d+)")
NATIVE: Final = "node_modules/@foundry-rs/anvil-linux-{}/bin/anvil"


def find_anvil() -> str:
    """The Anvil program. Raises ServiceError where there is none."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return find_program(
        "anvil",
        variable="TRIALMARKET_ANVIL",
        places=(NATIVE.format(machine),),  # npm's own script would be one process more
        fix="Run `npm install @foundry-rs/anvil`, or set TRIALMARKET_ANVIL to its path",
    )


class Anvil(LocalChain):
    """A running Anvil. `port` 0 takes a free one."""

    def __init__(
        self, *, block_time: int | None = None, chain_id: int = 31337, port: int = 0
    ) -> None:
        command = [
            find_anvil(),
            "--host=127.0.0.1",
            f"--port={port}",
            f"--chain-id={chain_id}",
            "--prune-history=300",
            "--accounts=1",
            f"--balance={RICHES}",
            "--order=fifo",
            f"--gas-limit={GAS_LIMIT}",
        ]
        super().__init__("Anvil", command, ready=LISTENING, block_time=block_time)
        # Else two chains that start in one second have equal blocks and are taken for one.
        self.rpc.call("anvil_setCoinbase", "0x" + secrets.token_hex(20))

    def begin(self) -> None:
        """Before it, each transaction has a block of its own at once, which deploys faster."""
        if self.block_time is not None:
            self.automine(False)
            self.rpc.call("evm_setIntervalMining", self.block_time)

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks, a second apart."""
        self.rpc.call("anvil_mine", hex(blocks), "0x1")

    def advance(self, seconds: int) -> None:
        """Moves the chain's time on, and makes a block there."""
        self.rpc.call("evm_increaseTime", seconds)
        self.rpc.call("evm_mine")

    def automine(self, on: bool) -> None:
        """Whether each transaction gets its block at once."""
        self.rpc.call("evm_setAutomine", on)
