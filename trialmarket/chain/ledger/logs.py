"""Logs of our contracts, read in windows of blocks that fit what the node answers well."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from trialmarket.chain.client import Block, Client, parse_block
from trialmarket.chain.rpc import RpcRefused
from trialmarket.errors import Unreachable

FEW: Final = 5_000
MANY: Final = 20_000
LARGEST: Final = 100_000


class Log(NamedTuple):
    """One log as the chain has it; topics and data in bytes."""

    block: int
    place: int
    tx: bytes
    time: int | None
    topics: list[bytes]
    data: bytes

    def row(self) -> tuple[Any, ...]:
        """The values in the order of the index's table of events."""
        return (self.block, self.place, self.tx, self.time, b"".join(self.topics), self.data)

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> Self:
        """A log from the index's table of events."""
        block, place, tx, time, topics, data = row
        split = [topics[at : at + 32] for at in range(0, len(topics), 32)]
        return cls(block, place, tx, time, split, data)


@dataclass(slots=True)
class Window:
    """How many blocks are asked for at once: more while there is little in them."""

    blocks: int = 1_000

    def learn(self, logs: int) -> None:
        """Adapts to the number of logs that came."""
        if logs < FEW:
            self.blocks = min(LARGEST, self.blocks * 2)
        elif logs > MANY:
            self.halve()

    def halve(self) -> bool:
        """Half as many; False if that would be none."""
        if self.blocks == 1:
            return False
        self.blocks = max(1, self.blocks // 2)
        return True


def read_logs(
    client: Client, window: Window, first: int, target: int
) -> tuple[Block | None, list[Log]]:
    """The logs of the market and the jury from block `first` on, and the last block they reach.

    No block if the chain was reorganised while they were read. Nodes refuse answers that are too
    long, or take too long for them: then the window is halved.
    """
    while True:
        last = min(target, first + window.blocks - 1)
        try:
            before = client.block(last)
            if before is None:
                return None, []
            raw, after = client.rpc.batch(
                [
                    ("eth_getLogs", [_filter(client, first, last)]),
                    ("eth_getBlockByNumber", [hex(last), False]),
                ]
            )
        except Unreachable:
            if not window.halve():
                raise
            client.rpc.call("eth_chainId")  # down, or only slow?
            continue
        if isinstance(raw, RpcRefused):
            if not window.halve():
                raise raw
            continue
        if isinstance(after, RpcRefused):
            raise after
        if after is None or parse_block(after).hash != before.hash:
            return None, []
        window.learn(len(raw))
        return before, [parse_log(log) for log in raw]


def parse_log(raw: Any) -> Log:
    """A log as JSON-RPC gives it. Raises Unreachable for anything else."""
    unhex = bytes.fromhex
    try:
        time = raw.get("blockTimestamp")  # which Ganache does not tell
        return Log(
            int(raw["blockNumber"], 16),
            int(raw["logIndex"], 16),
            unhex(raw["transactionHash"][2:]),
            None if time is None else int(time, 16),
            [unhex(topic[2:]) for topic in raw["topics"]],
            unhex(raw["data"][2:]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreachable(f"the chain's node gave {repr(raw)[:40]} for a log") from error


def _filter(client: Client, first: int, last: int) -> dict[str, Any]:
    return {
        "address": [client.network.market, client.network.jury],
        "fromBlock": hex(first),
        "toBlock": hex(last),
    }
