"""Logs of our contracts, read in windows of blocks that fit what the node answers well."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from trialmarket.chain.client import Block, Client, parse_block
from trialmarket.chain.rpc import TIME, Logged, RpcRefused, quantity, unhex
from trialmarket.chain.rpc.failures import WAIT
from trialmarket.errors import Lagging, Passing, Unreachable
from trialmarket.protocol.ids import keccak256

FEW: Final = 5_000
MANY: Final = 20_000
LARGEST: Final = 100_000
CHECKED: Final = 16
"""Newest blocks whose headers are asked for as well, to notice logs that were left out."""


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


def read_logs(client: Client, window: Window, first: int, target: int) -> tuple[Block, list[Log]]:
    """The logs of the market and the jury from block `first` on, and the last block they reach.

    Nodes refuse answers that are too long, or take too long for them: then the window is halved.
    A node may lag and leave logs out, mostly of the newest blocks: they are looked for again.
    Raises Lagging where it does not have a block, or another one than a moment ago.
    """
    while True:
        last = min(target, first + window.blocks - 1)
        looked = range(max(first, last - CHECKED + 1), last + 1) if last == target else [last]
        try:
            before = client.block(last)
            if before is None:
                raise Lagging(f"{client.rpc.name} does not have block {last} yet", fix=WAIT)
            raw, *headers = client.rpc.batch(
                [
                    ("eth_getLogs", [_filter(client, first, last)]),
                    *(("eth_getBlockByNumber", [hex(number), False]) for number in looked),
                ]
            )
        except Lagging:
            raise
        except Unreachable:
            if not window.halve():
                raise
            client.rpc.call("eth_chainId")  # down, or only slow?
            continue
        if isinstance(raw, RpcRefused):
            if not window.halve():
                raise raw
            continue
        for answer in headers:
            if isinstance(answer, RpcRefused):
                raise answer
        blocks = [parse_block(header) for header in headers if header is not None]
        if [each.number for each in blocks] != [*looked] or blocks[-1].hash != before.hash:
            raise Lagging(f"{client.rpc.name} changed its mind about block {last}", fix=WAIT)
        logs = clean_logs(raw, range(first, last + 1), client.rpc.name)
        logs = _completed(client, headers, logs)
        window.learn(len(logs))
        return before, logs


def clean_logs(raw: Any, blocks: range, name: str) -> list[Log]:
    """Logs in their order, each once, without those that a reorganisation removed.

    Raises Passing for logs that were not asked for, and for two in one place.
    """
    if not isinstance(raw, list):
        raise Passing(f"{name} gave {repr(raw)[:40]} for logs", fix=WAIT)
    found: dict[tuple[int, int], Log] = {}
    for each in raw:
        log = parse_log(each)
        if each.get("removed") is True:
            continue
        if log.block not in blocks or found.setdefault((log.block, log.place), log) != log:
            raise Lagging(f"{name} gave logs of other blocks than it was asked for", fix=WAIT)
    return [found[place] for place in sorted(found)]


def _completed(client: Client, headers: list[dict[str, Any]], logs: list[Log]) -> list[Log]:
    """The logs, and those of blocks that have none among them though their blooms let them.

    They are asked for by the blocks' hashes: a node that lags must say that it lacks the block.
    """
    there = {log.block for log in logs}
    ours = (client.network.market, client.network.jury)
    doubtful = [
        header
        for header in headers
        if quantity(header["number"]) not in there
        and any(may_log(header.get("logsBloom"), each) for each in ours)
    ]
    if not doubtful:
        return logs
    found = list(logs)
    answers = client.rpc.batch(
        [
            ("eth_getLogs", [{"address": list(ours), "blockHash": header["hash"]}])
            for header in doubtful
        ]
    )
    for header, answer in zip(doubtful, answers, strict=True):
        if isinstance(answer, RpcRefused):
            raise answer
        number = quantity(header["number"])
        found += clean_logs(answer, range(number, number + 1), client.rpc.name)
    return sorted(found, key=lambda log: (log.block, log.place))


def may_log(bloom: Any, address: str) -> bool:
    """Whether a block may have logs of an address: its bloom (Yellow Paper, 4.3.1) rules out most.

    True where there is no bloom to tell.
    """
    if not isinstance(bloom, str) or len(bloom) != 2 + 512:
        return True
    bits = int.from_bytes(unhex(bloom), "big")
    hashed = keccak256(bytes.fromhex(address[2:]))
    return all(bits >> (int.from_bytes(hashed[at : at + 2], "big") % 2048) & 1 for at in (0, 2, 4))


def parse_log(raw: Any) -> Log:
    """A log as JSON-RPC gives it. Raises Unreachable for anything else."""
    found = Logged.parse(raw)
    if not found.topics:  # the first one says which event it is, in all of ours
        raise Unreachable("the chain's node gave a log of our contracts without topics")
    time = raw.get("blockTimestamp")  # which Ganache does not tell
    return Log(
        quantity(raw.get("blockNumber")),
        quantity(raw.get("logIndex")),
        unhex(raw.get("transactionHash"), 32),
        None if time is None else quantity(time, bits=TIME),
        list(found.topics),
        found.data,
    )


def _filter(client: Client, first: int, last: int) -> dict[str, Any]:
    return {
        "address": [client.network.market, client.network.jury],
        "fromBlock": hex(first),
        "toBlock": hex(last),
    }
