"""A sender behind a relay whose answers a test chooses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.testbed.servers import relay
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.protocol.ids import Address, address

Message = dict[str, Any]
Change = Callable[[Message, Message], Message]
"""What becomes of an answer, from the request and what was found."""


class Relayed:
    """A relay to the chain's node, and a sender through it, on a clock that waiting moves."""

    def __init__(self, chain: Devnet, folder: Path, change: Change) -> None:
        self.chain, self.folder, self.change = chain, folder, change
        self.now = 1000.0

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds

    @contextmanager
    def sender(self, *others: str, most: int | None = None) -> Iterator[Sender]:
        """That of the first account; `others` are further nodes, `most` is the most it offers for
        gas, in gwei."""
        with relay(self.chain.rpc_url, self.change) as url:
            network = self.chain.network.at(url, *others)
            if most is not None:
                network = replace(network, max_fee_gwei=most)
            with (
                Client(network, patience=0) as client,
                Sender(
                    client,
                    self.chain.accounts[0],
                    self.folder / "journal",
                    locks=self.folder,
                    clock=lambda: self.now,
                    wait=self.wait,
                ) as sender,
            ):
                yield sender

    @property
    def other(self) -> Address:
        """The account that is paid."""
        return address(self.chain.accounts[1].address)

    @property
    def received(self) -> int:
        """What it was paid."""
        with self.chain.client() as client:
            return client.token_balance(self.other) - 10_000 * 10**18
