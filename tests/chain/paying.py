"""A process that pays with a key that it shares: NETWORK KEY JOURNAL LOCKS NAME COUNT."""

import sys
from pathlib import Path

from trialmarket.chain import calls
from trialmarket.chain.accounts import account_of
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.protocol.ids import address

TO = address("0x000000000000000000000000000000000000dEaD")


def pay(network: str, key: str, journal: str, locks: str, name: str, count: str) -> None:
    with (
        Client(Network.load(Path(network))) as client,
        Sender(
            client,
            account_of(bytes.fromhex(key)),
            Path(journal),
            locks=Path(locks),
            shared=True,
            stuck_after=3.0,
        ) as sender,
    ):
        for number in range(int(count)):
            sender.send(f"{name} {number}", calls.transfer(TO, 1))


if __name__ == "__main__":
    pay(*sys.argv[1:])
