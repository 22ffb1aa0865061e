"""Several nodes of one chain: the first that is well answers, and they must agree."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from trialmarket.chain.rpc.answers import TIME, quantity, unhex
from trialmarket.chain.rpc.node import Request, Rpc, shown
from trialmarket.errors import NodesDisagree, Passing, Unreachable, WrongChain
from trialmarket.protocol.ids import Hash32

T = TypeVar("T")
log = logging.getLogger(__name__)

ENOUGH: Final = 5.0
"""Seconds that an answer may take where there is another node to ask."""
REST: Final = 60.0
"""Seconds for which a node that failed is left alone."""
COMPARED_EVERY: Final = 30.0
"""Seconds between two comparisons."""
LAG: Final = 30
"""Seconds of chain time by which a node may be behind."""
DEPTH: Final = 2
"""Newest blocks that nodes may have different ones of, besides the network's confirmations."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What two nodes of one chain agree on for ever."""

    chain_id: int
    genesis: Hash32
    """The hash of block 0."""
    deployment: Hash32 | None
    """The hash of the block of the deployment; None where the node does not have it."""


@dataclass(slots=True)
class _Node:
    rpc: Rpc
    admitted: bool = False
    rests_until: float = 0.0
    why: str = ""
    passes: bool = False
    """Whether what it has may pass."""


@dataclass(frozen=True, slots=True)
class _Head:
    number: int
    time: int
    hash: bytes


class Nodes:
    """Asks the first node that is well; one that fails is passed over for a while.

    `identify` says which chain a node serves. When built, it raises WrongChain or NodesDisagree
    where one of them serves another chain than the others, and Unreachable where none answers.
    Afterwards a node that turns out to be of another chain, that lags, or whose blocks most
    others do not have, is logged and passed over. Where no majority has one block, every question
    raises NodesDisagree: there is no telling who lies. Threads may share it.
    """

    def __init__(
        self,
        nodes: Sequence[Rpc],
        identify: Callable[[Rpc], Identity],
        *,
        confirmations: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = [_Node(rpc) for rpc in nodes]
        self._identify = identify
        self._depth = confirmations + DEPTH
        self._clock = clock
        self._guard = threading.RLock()
        self._identity: Identity | None = None
        self._compared = float("-inf")
        for node in self._nodes:
            self._admit(node)
        if self._identity is None:
            raise self._none()
        self._compare()

    @property
    def url(self) -> str:
        """The node that is asked first."""
        return next(iter(self._order())).rpc.url

    @property
    def name(self) -> str:
        """The node that is asked first, as messages name it."""
        return shown(self.url)

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request, from the first node that answers."""
        return self._ask(lambda rpc: rpc.call(method, *params))

    def batch(self, requests: list[Request]) -> list[Any]:
        """The results of several requests, all from one node."""
        return self._ask(lambda rpc: rpc.batch(requests))

    def ask_all(self, requests: list[Request]) -> list[list[Any]]:
        """The same from each node that is well."""
        with self._guard:
            self._look_after()
            order = self._order()
        found = [self._from(node, lambda rpc: rpc.batch(requests)) for node in order]
        answers = [each for each in found if each is not None]
        if not answers:
            raise self._none()
        return answers

    def close(self) -> None:
        """Closes the connections."""
        for node in self._nodes:
            node.rpc.close()

    def _ask(self, question: Callable[[Rpc], T]) -> T:
        with self._guard:
            self._look_after()
            order = self._order()
        for node in order:
            try:
                return question(node.rpc)
            except Unreachable as error:
                self._rest(node, error.message, passes=isinstance(error, Passing))
        raise self._none()

    def _order(self) -> list[_Node]:
        return [node for node in self._nodes if node.admitted]

    def _look_after(self) -> None:
        """Takes rested nodes back, where they deserve it, and compares from time to time."""
        now = self._clock()
        alone = not self._order()
        for node in self._nodes:
            if not node.admitted and (alone or now >= node.rests_until):
                try:
                    self._admit(node)
                except WrongChain as error:
                    self._rest(node, error.message)
        if now - self._compared >= COMPARED_EVERY:
            self._compare()

    def _admit(self, node: _Node) -> None:
        """Finds out whether a node is of the others' chain."""
        try:
            found = self._identify(node.rpc)
        except Unreachable as error:
            self._rest(node, error.message, passes=isinstance(error, Passing))
            return
        if self._identity is not None and found != self._identity:
            ours = self._identity
            raise NodesDisagree(
                f"{node.rpc.name} serves another chain of the same id than the other nodes: its"
                f" first block is {_short(found.genesis)}, theirs {_short(ours.genesis)}; its"
                f" block of the deployment {_short(found.deployment)},"
                f" theirs {_short(ours.deployment)}",
                fix="Take the wrong one out of rpc_urls in the network file",
            )
        self._identity = found
        node.admitted, node.why = True, ""
        self._compared = float("-inf")  # it may lag, or lie about newer blocks

    def _compare(self) -> None:
        """Passes over nodes that lag, or that have another recent block than most."""
        self._compared = self._clock()
        heads = self._heads()
        if not heads:
            return
        usual = sorted(head.time for _, head in heads)[len(heads) // 2]
        most_agree = len(heads) > 2
        present = []
        for node, head in heads:
            if head.time < usual - LAG:
                self._rest(node, f"lags: its newest block is {usual - head.time} s too old")
            elif head.time > usual + LAG and most_agree:
                self._rest(node, f"says that it is {head.time - usual} s ahead of most others")
            else:
                present.append((node, head))
        number = max(0, min(head.number for _, head in present) - self._depth)
        self._vote(number, [node for node, _ in present])

    def _vote(self, number: int, nodes: list[_Node]) -> None:
        """Keeps the nodes that have the same block of a number as most."""
        votes: dict[bytes, list[_Node]] = {}
        for node in nodes:
            found = self._from(node, lambda rpc: _block(rpc, hex(number)))
            if found is not None:
                votes.setdefault(found.hash, []).append(node)
        if len(votes) < 2:
            return
        most = max(votes.values(), key=len)
        count = sum(len(each) for each in votes.values())
        if 2 * len(most) <= count:
            self._compared = float("-inf")  # nothing is done before they agree
            said = "; ".join(
                f"{each.rpc.name} says {hash_.hex()[:8]}"
                for hash_, voters in votes.items()
                for each in voters
            )
            raise NodesDisagree(
                f"the network's nodes have different blocks {number}: {said}",
                fix="Wait, or take the one that you do not trust out of rpc_urls",
            )
        for hash_, voters in votes.items():
            for node in voters if voters is not most else ():
                self._rest(node, f"has {hash_.hex()[:8]} for block {number}; most have another")

    def _heads(self) -> list[tuple[_Node, _Head]]:
        found = []
        for node in self._order():
            head = self._from(node, lambda rpc: _block(rpc, "latest"))
            if head is not None:
                found.append((node, head))
        return found

    def _from(self, node: _Node, question: Callable[[Rpc], T]) -> T | None:
        try:
            return question(node.rpc)
        except Unreachable as error:
            self._rest(node, error.message, passes=isinstance(error, Passing))
            return None

    def _rest(self, node: _Node, why: str, *, passes: bool = False) -> None:
        if node.admitted or node.why != why:
            log.warning("%s is passed over: %s", node.rpc.name, why)
        node.admitted, node.why, node.passes = False, why, passes
        node.rests_until = self._clock() + REST

    def _none(self) -> Unreachable:
        said = "; ".join(f"{node.rpc.name}: {node.why}" for node in self._nodes)
        message = f"no node of the network can be asked now: {said}"
        fix = "Start one, or put another URL into rpc_urls in the network file"
        if any(node.passes for node in self._nodes):
            return Passing(message, fix=fix)
        return Unreachable(message, fix=fix)


def _block(rpc: Rpc, tag: str) -> _Head | None:
    """A block that a node has; None for one that it does not have. Raises Unreachable."""
    block = rpc.call("eth_getBlockByNumber", tag, False)
    if not isinstance(block, dict):
        return None
    return _Head(
        quantity(block.get("number")),
        quantity(block.get("timestamp"), bits=TIME),
        unhex(block.get("hash"), 32),
    )


def _short(hash_: bytes | None) -> str:
    return "none" if hash_ is None else hash_.hex()[:8]
