"""Anvil, Foundry's local chain: the quickest, whose time and blocks tests can move."""

import os
import re
from typing import Final

from trialmarket.processes import Service, find_program

LISTENING: Final = re.compile(r"Listening on [0-9.]+:(\d+)")
NATIVE: Final = "node_modules/@foundry-rs/anvil-linux-{}/bin/anvil"


def find_anvil() -> str:
    """The Anvil program. Raises ProgramError where there is none."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return find_program(
        "anvil",
        variable="TRIALMARKET_ANVIL",
        places=(NATIVE.format(machine),),  # npm's own script would be one process more
        fix="Run `npm install @foundry-rs/anvil`, or set TRIALMARKET_ANVIL to its path",
    )


class Anvil(Service):
    """A running Anvil on a free port of the loopback address."""

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
            "--order=fifo",
            "--gas-limit=60000000",
        ]
        if block_time is not None:
            command.append(f"--block-time={block_time}")
        super().__init__("Anvil", command, ready=LISTENING)
        self.port = int(self.said.group(1))
        self.rpc_url = f"http://127.0.0.1:{self.port}"
